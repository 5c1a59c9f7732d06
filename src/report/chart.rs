//! Line charts as SVG and PNG, drawn by `plotters` with a font that is part of the program: no
//! system library is asked for one.

use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::{Error, Result};

/// The family under which the font is known.
pub const FONT: &str = "sans-serif";

/// Makes [`FONT`] known to plotters; call it before drawing text. (A `Once` because plotters keeps
/// fonts per process.)
pub fn fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only for a font that cannot be parsed; drawing then names the missing font.
        let _ = register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
}

/// A line, or single points.
#[derive(Clone, Debug)]
pub struct Line {
    /// For the legend; empty: not in it.
    pub name: String,
    /// (x, y); what is not finite is left out.
    pub points: Vec<(f64, f64)>,
    /// Colour.
    pub colour: RGBColor,
    /// Width in pixels; 0 draws the points alone.
    pub width: u32,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Heading.
    pub title: String,
    /// Of the horizontal axis.
    pub x_label: String,
    /// What it shows, later ones on top.
    pub lines: Vec<Line>,
}

/// A point and where it was drawn, in pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Of the line.
    pub name: String,
    /// (x, y) of the data.
    pub point: (f64, f64),
    /// (x, y) of the picture.
    pub pixel: (i32, i32),
}

/// The panels one above the other as SVG text, and where each point lies.
///
/// **Errors** [`Error::Invalid`] if there is nothing to draw or no room.
pub fn svg(panels: &[Panel], size: (u32, u32)) -> Result<(String, Vec<Placed>)> {
    let mut text = String::new();
    let placed = draw(SVGBackend::with_string(&mut text, size).into_drawing_area(), panels)?;
    Ok((text, placed))
}

/// The same as a PNG file.
///
/// **Errors** as [`svg`].
pub fn png(panels: &[Panel], size: (u32, u32)) -> Result<Vec<u8>> {
    let mut pixels = vec![255u8; (size.0 * size.1 * 3) as usize];
    draw(BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area(), panels)?;
    encode_png(&pixels, size)
}

/// RGB pixels as a PNG file.
///
/// **Errors** [`Error::Invalid`] if their number is not that of `size`.
pub fn encode_png(pixels: &[u8], size: (u32, u32)) -> Result<Vec<u8>> {
    let failed = |e: png::EncodingError| Error::invalid("picture", e);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(file)
}

fn draw<B: DrawingBackend>(area: DrawingArea<B, Shift>, panels: &[Panel]) -> Result<Vec<Placed>> {
    fonts();
    if panels.iter().all(|panel| panel.lines.iter().all(|line| finite(line).next().is_none())) {
        return Err(Error::invalid("chart", "there is nothing finite to draw"));
    }
    let failed = |e: DrawingAreaErrorKind<B::ErrorType>| Error::invalid("chart", e);
    area.fill(&WHITE).map_err(failed)?;
    let mut placed = Vec::new();
    for (area, panel) in area.split_evenly((panels.len(), 1)).iter().zip(panels) {
        if panel.lines.iter().any(|line| finite(line).next().is_some()) {
            placed.extend(draw_panel(area, panel).map_err(failed)?);
        }
    }
    area.present().map_err(failed)?;
    Ok(placed)
}

fn finite(line: &Line) -> impl Iterator<Item = (f64, f64)> + '_ {
    line.points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite())
}

/// Lowest and highest, with a little room; never empty.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    let room = if high > low { (high - low) * 0.04 } else { high.abs() * 0.05 + 1e-9 };
    low - room..high + room
}

fn draw_panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
) -> std::result::Result<Vec<Placed>, DrawingAreaErrorKind<B::ErrorType>> {
    let points = || panel.lines.iter().flat_map(finite);
    let ys = range(points().map(|p| p.1));
    let small = ys.end.abs() < 0.05;
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 20))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(range(points().map(|p| p.0)), ys)?;
    let number = |y: &f64| if small { format!("{y:.1e}") } else { format!("{y:.2}") };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(&panel.x_label)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&number)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 14))
        .draw()?;
    let mut placed = Vec::new();
    let mut named = false;
    for line in &panel.lines {
        let (colour, width) = (line.colour, line.width);
        if finite(line).next().is_none() {
            continue;
        }
        let drawn = match width {
            0 => chart.draw_series(finite(line).map(|p| Circle::new(p, 4, colour.filled())))?,
            _ => chart.draw_series(LineSeries::new(finite(line), colour.stroke_width(width)))?,
        };
        if !line.name.is_empty() {
            named = true;
            drawn.label(&line.name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 2), (x + 16, y + 2)], colour.filled())
            });
        }
        placed.extend(finite(line).map(|point| Placed {
            name: line.name.clone(),
            point,
            pixel: chart.backend_coord(&point),
        }));
    }
    if named {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .label_font((FONT, 14))
            .draw()?;
    }
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(points: Vec<(f64, f64)>) -> Panel {
        let line = Line { name: "loss".into(), points, colour: BLUE, width: 2 };
        Panel { title: "Loss <of> a run".into(), x_label: "step".into(), lines: vec![line] }
    }

    #[test]
    fn a_chart_shows_its_words_and_points_where_they_belong() {
        let panels = [panel(vec![(1.0, 3.0), (2.0, f64::NAN), (3.0, 1.0)])];
        let (text, placed) = svg(&panels, (640, 320)).unwrap();
        assert!(text.starts_with("<svg") && text.contains("step"), "{text}");
        assert!(text.contains("Loss &lt;of&gt; a run"), "{text}");
        assert_eq!(placed.len(), 2);
        assert!(placed[0].pixel.0 < placed[1].pixel.0 && placed[0].pixel.1 < placed[1].pixel.1);
    }

    #[test]
    fn a_png_holds_ink_of_the_lines_colour_and_text() {
        let bytes = png(&[panel(vec![(1.0, 3.0), (3.0, 1.0)])], (320, 200)).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (320, 200));
        assert!(pixels.chunks(3).any(|p| p == [0, 0, 255]));
        // The heading: dark pixels in the top rows.
        let heading = pixels[..40 * 320 * 3].chunks(3).filter(|p| p[0] < 128).count();
        assert!(heading > 20, "{heading} dark pixels");
        assert_ne!(bytes, png(&[panel(vec![(1.0, 1.0), (3.0, 3.0)])], (320, 200)).unwrap());
    }

    #[test]
    fn nothing_to_draw_is_an_error_and_one_point_is_not() {
        assert!(svg(&[panel(vec![(1.0, f64::NAN)])], (640, 320)).is_err());
        assert!(png(&[panel(vec![(1.0, 2.0)])], (640, 320)).is_ok());
    }
}
