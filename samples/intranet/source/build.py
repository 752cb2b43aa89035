"""Makes the HTML, PDF and DOCX documents of the sample intranet from the texts beside this script.

    pip install reportlab python-docx
    python build.py            # writes ../docs/**/NAME.{html,pdf,docx} from NAME.{html,pdf,docx}.md

The same sources give the same bytes. Fonts: Liberation Sans and Serif (SIL OFL), embedded as subsets.
"""

import datetime as dt
import html
import io
import os
import re
import unicodedata
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
FONTS = Path(os.environ.get("LIBERATION_FONTS", "/usr/share/fonts/truetype/liberation"))


# ---------------------------------------------------------------- reading the sources

def read(path):
    """Returns the front matter as a dict and the body as blocks: (kind, value)."""
    text = path.read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    meta = {}
    for line in front.strip().splitlines():
        key, value = line.split(":", 1)
        meta[key.strip()] = value.strip().strip('"')
    blocks = []
    for part in re.split(r"\n\s*\n", body.strip()):
        blocks += blocks_of(part.strip("\n").splitlines())
    return meta, blocks


def blocks_of(lines):
    first = lines[0]
    if first.startswith("#"):
        level = len(first) - len(first.lstrip("#"))
        rest = [(f"h{level}", first[level:].strip())]
        return rest + (blocks_of(lines[1:]) if lines[1:] else [])
    if first.startswith("|"):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
        return [("table", [rows[0]] + rows[2:])]
    if re.match(r"[-*] ", first):
        return [("ul", [line[2:].strip() for line in lines])]
    if re.match(r"\d+\. ", first):
        return [("ol", [re.sub(r"^\d+\. ", "", line) for line in lines])]
    if first.startswith("> "):
        return [("quote", " ".join(line.lstrip("> ") for line in lines))]
    return [("p", " ".join(lines))]


INLINE = re.compile(r"\*\*(.+?)\*\*|\*(.+?)\*|`(.+?)`")


def runs(text):
    """Splits text with Markdown emphasis into (style, text)."""
    out, at = [], 0
    for match in INLINE.finditer(text):
        if match.start() > at:
            out.append(("", text[at:match.start()]))
        bold, italic, code = match.groups()
        out.append(("b", bold) if bold else ("i", italic) if italic else ("code", code))
        at = match.end()
    if at < len(text):
        out.append(("", text[at:]))
    return out


def marked_up(text):
    tags = {"b": "b", "i": "i", "code": "code"}
    return "".join(
        f"<{tags[s]}>{html.escape(t, quote=False)}</{tags[s]}>" if s else html.escape(t, quote=False)
        for s, t in runs(text)
    )


def long_date(meta):
    day = dt.date.fromisoformat(meta["updated"])
    if meta["language"] == "es":
        months = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()
        return f"{day.day} de {months[day.month - 1]} de {day.year}"
    return f"{day.day} {day:%B} {day.year}"


# ---------------------------------------------------------------- HTML

WORDS = {
    "es": dict(home="Inicio", skip="Saltar al contenido", search="Buscar en la intranet", menu="Departamentos", you="Está en",
               updated="Actualizado el", owner="Responsable", useful="¿Le ha sido útil esta página?", yes="Sí", no="No",
               related="Páginas relacionadas", cookies="Esta intranet usa solo cookies de sesión.", accept="Entendido",
               foot="Uso interno. Quelmira Instrumentos, S.A.", news="Lo más leído", print="Imprimir"),
    "en": dict(home="Home", skip="Skip to content", search="Search the intranet", menu="Departments", you="You are here",
               updated="Updated on", owner="Owner", useful="Was this page useful?", yes="Yes", no="No",
               related="Related pages", cookies="This intranet uses session cookies only.", accept="Understood",
               foot="Internal use. Quelmira Instruments Ltd.", news="Most read", print="Print"),
}
AREAS = ["general", "hr", "it", "legal", "finance", "sales", "facilities"]


def public_docs(area):
    """Paths of an area's own pages; the restricted folders below it are not linked."""
    return sorted(str(p.relative_to(HERE))[:-3] for p in (HERE / area).glob("*.md")) + sorted(
        str(p.relative_to(DOCS)) for p in (DOCS / area).glob("*.md"))


def html_body(blocks):
    out = []
    for kind, value in blocks:
        if kind[0] == "h":
            plain = unicodedata.normalize("NFD", value.lower()).encode("ascii", "ignore").decode()
            anchor = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
            out.append(f'<{kind} id="{anchor}">{marked_up(value)}</{kind}>')
        elif kind == "table":
            head = "".join(f"<th scope=\"col\">{marked_up(c)}</th>" for c in value[0])
            rows = "\n".join("<tr>" + "".join(f"<td>{marked_up(c)}</td>" for c in row) + "</tr>" for row in value[1:])
            out.append(f"<table class=\"data\">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>")
        elif kind in ("ul", "ol"):
            items = "\n".join(f"<li>{marked_up(item)}</li>" for item in value)
            out.append(f"<{kind}>\n{items}\n</{kind}>")
        elif kind == "quote":
            out.append(f"<blockquote><p>{marked_up(value)}</p></blockquote>")
        else:
            out.append(f"<p>{marked_up(value)}</p>")
    return "\n".join(out)


def make_html(meta, blocks, target):
    words = WORDS[meta["language"]]
    here = target.parent.relative_to(DOCS)
    area = here.parts[0]
    link = lambda path: os.path.relpath(path, here)
    name = lambda a: a.upper() if len(a) == 2 else a.title()
    current = lambda a: ' class="current"' if a == area else ""
    menu = "\n".join(f'<li{current(a)}><a href="{link(public_docs(a)[0])}">{name(a)}</a></li>' for a in AREAS)
    own = str(target.relative_to(DOCS))
    related = "\n".join(f'<li><a href="{link(p)}">{Path(p).stem.replace("-", " ")}</a></li>' for p in public_docs(area) if p != own)
    title = html.escape(meta["title"])
    stamp = f'{words["owner"]}: {html.escape(meta["owner"])} · {words["updated"]} <time datetime="{meta["updated"]}">{long_date(meta)}</time>'
    body = html_body(blocks)
    if meta["template"] == "portal":
        page = f"""<!DOCTYPE html>
<html lang="{meta['language']}">
<head>
<meta charset="utf-8">
<title>{title} | Quelmira Intranet</title>
<meta name="author" content="{html.escape(meta['owner'])}">
<style>body {{ font: 15px/1.5 sans-serif; margin: 0 }} .menu li {{ display: inline; margin-right: 1em }} table.data td {{ border: 1px solid #bbb; padding: 4px }}</style>
<script>
window.dataLayer = window.dataLayer || []; dataLayer.push({{page: "{own}", area: "{area}"}});
function toggleMenu() {{ document.querySelector(".menu").classList.toggle("open"); }}
</script>
</head>
<body>
<a class="skip" href="#content">{words['skip']}</a>
<div class="cookie-banner" role="dialog">{words['cookies']} <button type="button">{words['accept']}</button></div>
<header>
<p class="logo">Quelmira</p>
<form action="#" role="search"><input type="search" placeholder="{words['search']}" aria-label="{words['search']}"></form>
<nav aria-label="{words['menu']}">
<ul class="menu">
{menu}
</ul>
</nav>
</header>
<nav class="breadcrumb">{words['you']}: {words['home']} &gt; {name(area)} &gt; {title}</nav>
<div id="content" role="main">
{body}
<p class="stamp">{stamp}</p>
</div>
<aside>
<h2>{words['related']}</h2>
<ul>
{related}
</ul>
</aside>
<footer>
<p>{words['useful']} <button>{words['yes']}</button> <button>{words['no']}</button> <a href="#" onclick="window.print()">{words['print']}</a></p>
<p>&copy; 2026 &middot; {words['foot']}</p>
</footer>
</body>
</html>
"""
    else:
        page = f"""<!doctype html>
<html lang="{meta['language']}">
<head>
<meta charset="utf-8">
<meta name="generator" content="Quelmira Wiki 3.1">
<title>{title} - Quelmira Wiki</title>
<link rel="icon" href="data:,">
</head>
<body class="wiki">
<nav id="top"><b>Wiki</b>
<ul>
{menu}
</ul>
</nav>
<main>
<article>
{body}
</article>
</main>
<aside class="sidebar"><h3>{words['news']}</h3>
<ol>
{related}
</ol>
</aside>
<footer><small>{stamp} &middot; {words['foot']} &middot; <a href="#top">&uarr;</a></small></footer>
<script>console.log("wiki ready");</script>
</body>
</html>
"""
    target.write_text(page, encoding="utf-8")


# ---------------------------------------------------------------- PDF

def make_pdf(meta, blocks, target):
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import cm
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.platypus import (BaseDocTemplate, Frame, FrameBreak, ListFlowable, ListItem, NextPageTemplate,
                                    PageBreak, PageTemplate, Paragraph, Spacer, Table, TableStyle)
    for name in ("Sans", "Serif", "Mono"):
        if f"L{name}" not in pdfmetrics.getRegisteredFontNames():
            for suffix, file in (("", "Regular"), ("B", "Bold"), ("I", "Italic"), ("BI", "BoldItalic")):
                pdfmetrics.registerFont(TTFont(f"L{name}{suffix}", str(FONTS / f"Liberation{name}-{file}.ttf")))
            pdfmetrics.registerFontFamily(f"L{name}", f"L{name}", f"L{name}B", f"L{name}I", f"L{name}BI")

    columns = int(meta.get("columns", 1))
    contract = "contracts" in str(target)
    text_font = "LSerif" if contract or columns == 2 else "LSans"
    size = 10.2 if columns == 2 else 11
    blue = colors.HexColor("#1f4e79")
    normal = ParagraphStyle("normal", fontName=text_font, fontSize=size, leading=size * 1.5, spaceAfter=7)
    cell = ParagraphStyle("cell", parent=normal, fontSize=size - 1.2, leading=(size - 1.2) * 1.25, spaceAfter=0)
    head_cell = ParagraphStyle("headcell", parent=cell, fontName=text_font + "B", textColor=colors.white)
    quote = ParagraphStyle("quote", parent=normal, leftIndent=18, textColor=colors.HexColor("#444444"))
    title = ParagraphStyle("title", fontName="LSansB", fontSize=21, leading=25, textColor=blue, spaceAfter=4)
    subtitle = ParagraphStyle("subtitle", fontName="LSans", fontSize=11.5, leading=15, textColor=colors.HexColor("#555555"), spaceAfter=14)
    headings = {
        "h1": ParagraphStyle("h1", fontName="LSansB", fontSize=14, leading=18, textColor=blue, spaceBefore=12, spaceAfter=5, keepWithNext=1),
        "h2": ParagraphStyle("h2", fontName="LSansB", fontSize=11.5, leading=15, spaceBefore=8, spaceAfter=4, keepWithNext=1),
        "h3": ParagraphStyle("h3", fontName="LSansBI", fontSize=10.5, leading=14, spaceBefore=6, spaceAfter=3, keepWithNext=1),
    }
    rich = lambda text: marked_up(text).replace("<code>", '<font face="LMono">').replace("</code>", "</font>")
    width, height = A4
    margin = 2.6 * cm
    inner = width - 2 * margin
    gap = 0.7 * cm
    column = inner if columns == 1 else (inner - gap) / 2

    def table(rows):
        data = [[Paragraph(rich(c), head_cell) for c in rows[0]]] + [[Paragraph(rich(c), cell) for c in r] for r in rows[1:]]
        weights = [max(9, min(34, max(len(r[i]) for r in rows if i < len(r)))) for i in range(len(rows[0]))]
        made = Table(data, colWidths=[column * w / sum(weights) for w in weights], repeatRows=1, spaceBefore=4, spaceAfter=10)
        made.setStyle(TableStyle([
            ("FONT", (0, 0), (-1, -1), text_font), ("BACKGROUND", (0, 0), (-1, 0), blue), ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("ROWBACKGROUNDS", (0, 1), (-1, -1), [colors.white, colors.HexColor("#eef3f8")]),
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#b8c4d0")),
        ]))
        return made

    story = [Paragraph(html.escape(meta["title"]), title), Paragraph(html.escape(meta.get("subtitle", "")), subtitle)]
    if columns == 2:
        story += [FrameBreak(), NextPageTemplate("later")]
    elif not contract:
        # A cover with the list of sections, as most companies' documents have one.
        story += [Spacer(1, 1.5 * cm), Paragraph("Contenido" if meta["language"] == "es" else "Contents", headings["h2"])]
        story += [Paragraph(rich(value), normal) for kind, value in blocks if kind == "h1"]
        story.append(PageBreak())
    for kind, value in blocks:
        if kind in headings:
            story.append(Paragraph(rich(value), headings[kind]))
        elif kind == "table":
            story.append(table(value))
        elif kind in ("ul", "ol"):
            items = [ListItem(Paragraph(rich(i), normal)) for i in value]
            story += [ListFlowable(items, bulletType="bullet" if kind == "ul" else "1", leftIndent=16, bulletFontName=text_font,
                                   bulletFontSize=size, start="•" if kind == "ul" else 1, bulletFormat=None if kind == "ul" else "%s."), Spacer(1, 4)]
        else:
            story.append(Paragraph(rich(value), quote if kind == "quote" else normal))

    page_word, date_word = ("Página", "Versión de") if meta["language"] == "es" else ("Page", "Version of")

    def furniture(canvas, doc):
        canvas.saveState()
        canvas.setFont("LSans", 8)
        canvas.setFillColor(colors.HexColor("#666666"))
        canvas.drawString(margin, height - 1.4 * cm, "Quelmira")
        canvas.drawRightString(width - margin, height - 1.4 * cm, meta["title"])
        canvas.setStrokeColor(colors.HexColor("#b8c4d0"))
        canvas.line(margin, height - 1.6 * cm, width - margin, height - 1.6 * cm)
        canvas.drawString(margin, 1.2 * cm, f"{meta['owner']} · {date_word} {long_date(meta)}")
        canvas.drawRightString(width - margin, 1.2 * cm, f"{page_word} {doc.page}")
        canvas.restoreState()

    def frames(top):
        usable = height - 2.0 * cm - top
        return [Frame(margin + i * (column + gap), 2.0 * cm, column, usable, 0, 0, 0, 0, id=f"c{i}") for i in range(columns)]

    doc = BaseDocTemplate(str(target), pagesize=A4, title=meta["title"], author=meta["owner"], lang=meta["language"], initialFontName="LSans",
                          invariant=1)
    if columns == 1:
        doc.addPageTemplates([PageTemplate("all", frames(2.2 * cm), onPage=furniture)])
    else:
        banner = Frame(margin, height - 5.2 * cm, inner, 3.0 * cm, 0, 0, 0, 0, id="banner")
        doc.addPageTemplates([PageTemplate("first", [banner] + frames(5.2 * cm), onPage=furniture),
                              PageTemplate("later", frames(2.2 * cm), onPage=furniture)])
    doc.build(story)


# ---------------------------------------------------------------- DOCX

def make_docx(meta, blocks, target):
    from docx import Document
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Pt

    doc = Document()
    doc.styles["Normal"].font.name = "Calibri"
    doc.styles["Normal"].font.size = Pt(11)
    doc.core_properties.title, doc.core_properties.author = meta["title"], meta["owner"]
    doc.core_properties.language = meta["language"]
    stamp = dt.datetime.fromisoformat(meta["updated"])
    doc.core_properties.created = doc.core_properties.modified = stamp

    def write(paragraph, text):
        for style, part in runs(text):
            run = paragraph.add_run(part)
            run.bold, run.italic = style == "b" or None, style == "i" or None
            if style == "code":
                run.font.name = "Courier New"

    def field(paragraph, code):
        run = paragraph.add_run()
        for kind in ("begin", None, "end"):
            element = OxmlElement("w:fldChar" if kind else "w:instrText")
            if kind:
                element.set(qn("w:fldCharType"), kind)
            else:
                element.text = code
            run._r.append(element)

    def fresh_numbering():
        """A numbered list of its own that begins at 1."""
        numbering = doc.part.numbering_part.numbering_definitions._numbering
        base = doc.styles["List Number"].element.pPr.numPr.numId.val
        abstract = next(n for n in numbering.num_lst if n.numId == base).abstractNumId.val
        num = numbering.add_num(abstract)
        num.add_lvlOverride(ilvl=0).add_startOverride(1)
        return num.numId

    doc.add_paragraph(meta["title"], style="Title")
    if meta.get("subtitle"):
        doc.add_paragraph(meta["subtitle"], style="Subtitle")
    for kind, value in blocks:
        if kind[0] == "h":
            doc.add_heading(value, level=int(kind[1]))
        elif kind == "table":
            table = doc.add_table(rows=0, cols=len(value[0]), style="Light Grid Accent 1")
            for row in value:
                cells = table.add_row().cells
                for target_cell, text in zip(cells, row):
                    write(target_cell.paragraphs[0], text)
            doc.add_paragraph()
        elif kind in ("ul", "ol"):
            number = fresh_numbering() if kind == "ol" else None
            for item in value:
                paragraph = doc.add_paragraph(style="List Number" if kind == "ol" else "List Bullet")
                if number is not None:
                    properties = paragraph._p.get_or_add_pPr().get_or_add_numPr()
                    properties.get_or_add_ilvl().val, properties.get_or_add_numId().val = 0, number
                write(paragraph, item)
        else:
            write(doc.add_paragraph(style="Quote" if kind == "quote" else None), value)
    section = doc.sections[0]
    section.header.paragraphs[0].text = f"Quelmira · {meta['owner']}"
    footer = section.footer.paragraphs[0]
    footer.add_run(long_date(meta) + " · ")
    field(footer, "PAGE")

    buffer = io.BytesIO()
    doc.save(buffer)
    with zipfile.ZipFile(buffer) as made, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for info in made.infolist():
            fixed = zipfile.ZipInfo(info.filename, (2026, 1, 1, 0, 0, 0))
            fixed.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(fixed, made.read(info.filename))


MAKERS = {".html": make_html, ".pdf": make_pdf, ".docx": make_docx}


def main():
    for source in sorted(HERE.rglob("*.md")):
        target = DOCS / source.relative_to(HERE).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        meta, blocks = read(source)
        MAKERS[target.suffix](meta, blocks, target)
        print(target.relative_to(DOCS))


if __name__ == "__main__":
    main()
