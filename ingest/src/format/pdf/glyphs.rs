//! What a page shows: its glyphs with their letters and places.

use std::sync::Arc;

use hayro_interpret::font::{Glyph as DrawnGlyph, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::hayro_syntax::Pdf;
use hayro_interpret::hayro_syntax::page::Page;
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect, Shape};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, Paint, SoftMask, TransformExt, interpret_page,
};

/// The most glyphs kept of one page. A full page of small print has some 10,000.
const MAX_GLYPHS: usize = 200_000;

/// Text smaller than this, in points, is not for readers.
const MIN_SIZE: f64 = 0.7;

/// A glyph as it stands on the page. Coordinates are in points, y grows downwards.
#[derive(Clone, Debug)]
pub struct Glyph {
    /// The letters it shows.
    pub text: String,
    /// Where its baseline begins.
    pub start: Point,
    /// Where its baseline ends.
    pub end: Point,
    /// Font size.
    pub size: f64,
    /// Whether its font is bold.
    pub bold: bool,
}

/// What was seen on one page.
pub struct Seen {
    /// The visible glyphs in the order in which they were drawn.
    pub glyphs: Vec<Glyph>,
    /// Glyphs whose letters are not known.
    pub unreadable: usize,
    /// Whether there are pictures.
    pub pictures: bool,
    /// Whether glyphs were left out because there are too many.
    pub cut: bool,
}

/// Collects the glyphs of a page, upright for its reader whatever its rotation.
///
/// Text that cannot be seen is left out: drawn invisibly, fully transparent, clipped or off the page. The exception is a
/// page whose only text is invisible, as text recognition lays it under a scanned picture.
pub fn collect<'a>(page: &Page<'a>, pdf: &'a Pdf, cache: &InterpreterCache<'a>) -> Seen {
    let (width, height) = page.render_dimensions();
    let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let settings = InterpreterSettings { warning_sink: Arc::new(|_| {}), ..InterpreterSettings::default() };
    let mut context = Context::new(page.initial_transform(true).to_kurbo(), area, cache, pdf.xref(), settings);
    let mut collector = Collector { clips: vec![area], ..Collector::default() };
    interpret_page(page, &mut context, &mut collector);
    let visible = collector.glyphs.len() - collector.invisible;
    let keep_invisible = collector.invisible > visible * 4;
    let cut = collector.glyphs.len() >= MAX_GLYPHS;
    let glyphs = collector
        .glyphs
        .into_iter()
        .filter(|(_, visible)| *visible || keep_invisible)
        .map(|(glyph, _)| glyph)
        .collect();
    Seen { glyphs, unreadable: collector.unreadable, pictures: collector.pictures, cut }
}

#[derive(Default)]
struct Collector {
    /// Glyphs, and whether each is visible.
    glyphs: Vec<(Glyph, bool)>,
    invisible: usize,
    unreadable: usize,
    /// Bounding boxes of the nested clips, each inside the one before.
    clips: Vec<Rect>,
    /// For each open transparency group whether it hides what is in it.
    groups: Vec<bool>,
    pictures: bool,
}

impl Collector {
    fn clip(&mut self, area: Rect) {
        let outer = self.clips.last().copied().unwrap_or(area);
        self.clips.push(outer.intersect(area));
    }

    fn is_clipped(&self, start: Point, end: Point, size: f64) -> bool {
        // The middle of the letter's body, a third of its size above the baseline, must be inside.
        let along = end - start;
        let up = if along.hypot() > 0.0 {
            along.turn_90() / along.hypot() * (-size / 3.0)
        } else {
            (0.0, -size / 3.0).into()
        };
        let middle = start.midpoint(end) + up;
        self.clips.last().is_some_and(|clip| !clip.inflate(size * 0.2, size * 0.2).contains(middle))
    }
}

impl<'a> Device<'a> for Collector {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, mode: &DrawMode) {
        if self.glyphs.len() >= MAX_GLYPHS {
            return;
        }
        let visible =
            !matches!(mode, DrawMode::Invisible) && !self.groups.contains(&true) && !is_transparent(&props.paint);
        let bold = run.glyphs().first().is_some_and(|glyph| is_bold(glyph));
        let stretched = has_varying_stretch(run);
        for glyph in run.glyphs() {
            let transform = props.transform * glyph.transform();
            let [a, b, c, d, ..] = transform.as_coeffs();
            // Glyph space has 1000 units to the em.
            let (across, up) = (a.hypot(b), c.hypot(d));
            let size = up * 1000.0;
            if !(MIN_SIZE..=2000.0).contains(&size) || !across.is_finite() {
                continue;
            }
            let advance = match &**glyph {
                DrawnGlyph::Outline(outline) => outline.advance_width(),
                DrawnGlyph::Type3(type3) => type3.advance_width(),
            };
            let advance = f64::from(advance.unwrap_or(500.0)).clamp(0.0, 4000.0);
            let unstretched = if stretched && across > 0.0 { up / across } else { 1.0 };
            let start = transform * Point::ZERO;
            let end = transform * Point::new(advance * unstretched, 0.0);
            if !(start.is_finite() && end.is_finite()) || self.is_clipped(start, end, size) {
                continue;
            }
            let text = match glyph.as_unicode() {
                Some(BfString::Char(c)) => c.to_string(),
                Some(BfString::String(text)) => text,
                None => String::new(),
            };
            if text.is_empty() || text.contains('\u{fffd}') {
                self.unreadable += 1;
                continue;
            }
            self.invisible += usize::from(!visible);
            self.glyphs.push((Glyph { text, start, end, size, bold }, visible));
        }
    }

    fn push_clip_path(&mut self, clip: &ClipPath) {
        self.clip(clip.path.bounding_box());
    }

    fn push_clip_rect(&mut self, area: &Rect) {
        self.clip(*area);
    }

    fn pop_clip(&mut self) {
        if self.clips.len() > 1 {
            self.clips.pop();
        }
    }

    fn push_transparency_group(&mut self, opacity: f32, _: Option<SoftMask<'a>>, _: BlendMode) {
        self.groups.push(opacity <= 0.01);
    }

    fn pop_transparency_group(&mut self) {
        self.groups.pop();
    }

    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {
        self.pictures = true;
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}

    fn draw_rect(&mut self, _: &Rect, _: DrawProps<'a>, _: &DrawMode) {}
}

fn is_transparent(paint: &Paint<'_>) -> bool {
    match paint {
        Paint::Color(color) => color.to_rgba().components()[3] <= 0.01,
        Paint::Pattern(_) => false,
    }
}

fn is_bold(glyph: &DrawnGlyph<'_>) -> bool {
    let DrawnGlyph::Outline(outline) = glyph else { return false };
    let Some(font) = outline.font_data() else { return false };
    let name = font.postscript_name.unwrap_or_default().to_lowercase();
    font.weight.is_some_and(|weight| weight >= 600)
        || ["bold", "black", "heavy", "semibold"].iter().any(|word| name.contains(word))
}

/// Whether a substitute font's glyphs were each stretched to the width that the PDF gives them.
///
/// Stretch of the text as a whole is the same for all glyphs and part of their advance; stretch of single glyphs is not.
fn has_varying_stretch(run: &GlyphRun<'_, '_>) -> bool {
    let ratio = |transform: Affine| {
        let [a, b, c, d, ..] = transform.as_coeffs();
        a.hypot(b) / c.hypot(d)
    };
    let Some(first) = run.glyphs().first().map(|glyph| ratio(glyph.transform())) else { return false };
    run.glyphs().iter().any(|glyph| (ratio(glyph.transform()) - first).abs() > 0.001)
}
