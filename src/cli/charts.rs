//! Pictures of the pricer's reports, each drawn once for SVG (in HTML) and PNG, and the page around
//! them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::format::write_atomic;
use crate::report::chart::{FONT, encode_png, fonts};

/// What plotters says when drawing fails.
pub(super) type Drawn<T, B> =
    std::result::Result<T, DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Something that can be drawn; what it gives back are places that HTML adds something to.
pub(super) trait Picture {
    /// Pixels of the points that show something under the mouse.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Vec<(i32, i32)>, B>;
}

/// As SVG text, with the places.
pub(super) fn svg(picture: &impl Picture, size: (u32, u32)) -> Result<(String, Vec<(i32, i32)>)> {
    fonts();
    let mut text = String::new();
    let places = {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let places = picture.draw(&area).map_err(|e| anyhow!("chart: {e}"))?;
        area.present().map_err(|e| anyhow!("chart: {e}"))?;
        places
    };
    // Scales with the page instead of having a size of its own.
    let fixed = format!("width=\"{}\" height=\"{}\" ", size.0, size.1);
    Ok((text.replacen(&fixed, "", 1), places))
}

/// As a PNG file.
pub(super) fn png(picture: &impl Picture, size: (u32, u32)) -> Result<Vec<u8>> {
    fonts();
    let mut pixels = vec![255u8; (size.0 * size.1 * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        area.fill(&WHITE).map_err(|e| anyhow!("chart: {e}"))?;
        picture.draw(&area).map_err(|e| anyhow!("chart: {e}"))?;
        area.present().map_err(|e| anyhow!("chart: {e}"))?;
    }
    Ok(encode_png(&pixels, size)?)
}

/// A path as a report shows it: as it was typed, or, where it says where a machine keeps things,
/// its last part.
pub(super) fn shown_path(text: &str) -> String {
    let path = Path::new(text);
    match path.file_name().filter(|_| path.is_absolute()) {
        Some(name) => name.to_string_lossy().into_owned(),
        None => text.to_owned(),
    }
}

/// Replaces a file, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    Ok(write_atomic(path, |file| file.write_all(bytes).map_err(crate::Error::io(path)))?)
}

/// Counts of values in bins of equal width.
pub(super) struct Histogram {
    pub(super) title: String,
    unit: &'static str,
    /// Left end of the first bin, and width.
    from: f64,
    width: f64,
    counts: Vec<usize>,
    mark: Option<f64>,
}

pub(super) const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
pub(super) const BAR: RGBColor = RGBColor(0x4c, 0x78, 0xa8);
pub(super) const MARK: RGBColor = RGBColor(0xd6, 0x27, 0x28);

impl Histogram {
    /// About 25 bins with round borders, with a line at `mark`.
    pub(super) fn new(
        title: &str,
        unit: &'static str,
        values: &[f64],
        mark: Option<f64>,
    ) -> Histogram {
        let low =
            values.iter().copied().fold(f64::INFINITY, f64::min).min(mark.unwrap_or(f64::INFINITY));
        let high = values.iter().copied().fold(0.0, f64::max).max(mark.unwrap_or(0.0));
        let rough = ((high - low) / 25.0).max(1.0);
        let power = 10f64.powf(rough.log10().floor());
        let width = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|w| *w >= rough);
        let width = width.unwrap_or(rough);
        let from = if low.is_finite() { (low / width).floor() * width } else { 0.0 };
        let mut counts = vec![0; ((high - from) / width).floor().max(0.0) as usize + 1];
        for value in values {
            let bin = (((value - from) / width).floor().max(0.0) as usize).min(counts.len() - 1);
            counts[bin] += 1;
        }
        Histogram { title: title.into(), unit, from, width, counts, mark }
    }

    fn edge(&self, bin: usize) -> f64 {
        self.from + self.width * bin as f64
    }

    /// Bars of text, a line each, at most 16 of them.
    pub(super) fn terminal(&self) -> String {
        let step = self.counts.len().div_ceil(16);
        let sums: Vec<usize> = self.counts.chunks(step).map(|c| c.iter().sum()).collect();
        let most = sums.iter().copied().max().unwrap_or(1).max(1);
        let mut out = String::new();
        for (i, &n) in sums.iter().enumerate() {
            let bar = "█".repeat((n * 40).div_ceil(most));
            let (a, b) = (self.edge(i * step), self.edge((i + 1) * step));
            let _ = writeln!(out, "  {a:>6.0} to {b:<6.0} {bar} {n}");
        }
        out
    }
}

impl Picture for Histogram {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Vec<(i32, i32)>, B> {
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let end = self.edge(self.counts.len());
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(self.from..end, 0.0..most * 1.06)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .x_desc(self.unit)
            .y_desc("products")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 14))
            .draw()?;
        let gap = self.width * 0.04;
        chart.draw_series(self.counts.iter().enumerate().map(|(i, &n)| {
            let corners = [(self.edge(i) + gap, 0.0), (self.edge(i + 1) - gap, n as f64)];
            Rectangle::new(corners, BAR.filled())
        }))?;
        if let Some(mark) = self.mark {
            let line = vec![(mark, 0.0), (mark, most * 1.06)];
            chart.draw_series([PathElement::new(line, MARK.stroke_width(2))])?;
            let text = Text::new(
                format!(" cut at {mark:.0}"),
                (mark, most),
                (FONT, 14).into_font().color(&MARK),
            );
            chart.draw_series([text])?;
        }
        Ok(Vec::new())
    }
}

/// Pictures of one kind side by side.
pub(super) struct Beside<'a, P>(pub(super) &'a [P]);

impl<P: Picture> Picture for Beside<'_, P> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Vec<(i32, i32)>, B> {
        for (area, picture) in area.split_evenly((1, self.0.len())).iter().zip(self.0) {
            picture.draw(area)?;
        }
        Ok(Vec::new())
    }
}

/// One HTML file without anything from elsewhere.
pub(super) struct Page(String);

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}table{border-collapse:collapse;margin:.6rem 0}\
td,th{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}\
svg{width:100%;height:auto;display:block;margin:.6rem 0}pre{background:#f6f6f4;padding:.8rem;white-space:pre-wrap}\
b.answer{color:#0a7d33}.note{color:#666;font-size:.9rem}figure{position:relative;margin:0}\
#tip{position:fixed;display:none;background:#222;color:#fff;padding:.3rem .6rem;border-radius:.3rem;font-size:.85rem;\
pointer-events:none;white-space:pre-line;max-width:24rem}.hit{fill:transparent}.hit:hover{fill:none;stroke:#222;stroke-width:2}\
.wide,figure{overflow-x:auto}td{vertical-align:top}\
@media(max-width:40rem){body{margin:1rem auto}svg{min-width:36rem}td,th{padding:.25rem .4rem}}\
@media(prefers-color-scheme:dark){body{background:#16181c;color:#e4e4e4}td,th{border-color:#3a3d42}pre{background:#22252a}\
.note{color:#a0a4aa}b.answer{color:#58c77d}svg{filter:invert(.9) hue-rotate(180deg)}}";

const SCRIPT: &str = "const tip=document.getElementById('tip');\
document.addEventListener('mousemove',e=>{const t=e.target.dataset&&e.target.dataset.tip;\
tip.style.display=t?'block':'none';if(t){tip.textContent=t;\
tip.style.left=Math.min(e.clientX+14,innerWidth-tip.offsetWidth-8)+'px';tip.style.top=(e.clientY+14)+'px'}});";

impl Page {
    pub(super) fn new(title: &str) -> Page {
        let title = escape(title);
        Page(format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><style>{STYLE}</style></head>\n\
             <body><h1>{title}</h1>\n"
        ))
    }

    pub(super) fn heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h2>{}</h2>", escape(text));
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p>{}</p>", escape(text));
    }

    pub(super) fn note(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p class=\"note\">{}</p>", escape(text));
    }

    /// An SVG; each place shows its text under the mouse.
    pub(super) fn svg(&mut self, svg: &str, tips: &[((i32, i32), String)]) {
        let end = svg.rfind("</svg>").unwrap_or(svg.len());
        let _ = writeln!(self.0, "<figure>{}", &svg[..end]);
        for ((x, y), text) in tips {
            let text = escape(text);
            let _ = writeln!(
                self.0,
                "<circle class=\"hit\" cx=\"{x}\" cy=\"{y}\" r=\"6\" data-tip=\"{text}\"/>"
            );
        }
        self.0 += "</svg></figure>\n";
    }

    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
            cells.map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
        };
        let _ = writeln!(
            self.0,
            "<div class=\"wide\"><table><tr>{}</tr>",
            cells("th", &mut head.iter().copied())
        );
        for row in rows {
            let _ =
                writeln!(self.0, "<tr>{}</tr>", cells("td", &mut row.iter().map(String::as_str)));
        }
        self.0 += "</table></div>\n";
    }

    /// A prompt, and what is to be said behind it.
    pub(super) fn example(&mut self, prompt: &str, completion: &str) {
        let _ = writeln!(
            self.0,
            "<pre>{}<b class=\"answer\">{}</b></pre>",
            escape(prompt),
            escape(completion)
        );
    }

    pub(super) fn finish(self) -> String {
        format!("{}<div id=\"tip\"></div><script>{SCRIPT}</script></body></html>\n", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_every_value_once() {
        let values: Vec<f64> = (0..=999).map(f64::from).collect();
        let h = Histogram::new("t", "u", &values, None);
        assert_eq!(h.counts.iter().sum::<usize>(), 1000);
        assert_eq!((h.width, h.counts[0]), (50.0, 50));
        assert!(h.terminal().lines().count() <= 16);
        assert_eq!(Histogram::new("t", "u", &[], None).counts.len(), 1);
        let (text, _) = svg(&h, (300, 200)).unwrap();
        assert!(
            text.contains("<rect") && !text.contains("width=\"300\" height=\"200\" viewBox"),
            "{}",
            &text[..200]
        );
    }

    #[test]
    fn nothing_in_a_page_is_taken_for_a_tag() {
        let mut page = Page::new("a<b");
        page.svg("<svg></svg>", &[((1, 2), "\"<x>\"".into())]);
        page.example("<p>", "&");
        let text = page.finish();
        for part in [
            "a&lt;b",
            "data-tip=\"&quot;&lt;x&gt;&quot;\"",
            "&lt;p&gt;<b class=\"answer\">&amp;</b>",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }
}
