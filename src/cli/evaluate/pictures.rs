//! The evaluator's charts.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::cli::charts::{BAR, Drawn, INK, Picture};
use crate::pricer::metrics::Colour;
use crate::report::chart::FONT;

const GREEN: RGBColor = RGBColor(0x2c, 0xa0, 0x2c);
const ORANGE: RGBColor = RGBColor(0xff, 0x8c, 0x00);
const RED: RGBColor = RGBColor(0xd6, 0x27, 0x28);
const OURS: RGBColor = RGBColor(0x0a, 0x7d, 0x33);
const FADED: RGBColor = RGBColor(0xb8, 0xb8, 0xb8);
const SKY: RGBColor = RGBColor(0x00, 0xbf, 0xff);

/// `(truth, guess)`.
pub(super) struct Points(pub(super) Vec<(f64, f64)>);

/// Guess over truth, coloured, with the line where they are equal. Guesses beyond the largest truth
/// are drawn at the upper border.
pub(super) struct Scatter {
    pub(super) title: String,
    pub(super) points: Points,
    pub(super) largest: f64,
}

impl Picture for Scatter {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Vec<(i32, i32)>, B> {
        let most = self.largest;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 22))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..most, 0.0..most)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.08))
            .x_desc("actual price, $")
            .y_desc("guess, $")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 15))
            .draw()?;
        let dashes = (0..40).step_by(2).map(|i| {
            let (a, b) = (most * f64::from(i) / 40.0, most * f64::from(i + 1) / 40.0);
            PathElement::new(vec![(a, a), (b, b)], SKY.stroke_width(2))
        });
        chart.draw_series(dashes)?;
        let mut places = Vec::new();
        for &(truth, guess) in &self.points.0 {
            let colour = match Colour::of(guess, truth) {
                Colour::Green => GREEN,
                Colour::Orange => ORANGE,
                Colour::Red => RED,
            };
            let at = (truth.clamp(0.0, most), guess.clamp(0.0, most));
            chart.draw_series([Circle::new(at, 4, colour.mix(0.75).filled())])?;
            places.push(chart.backend_coord(&at));
        }
        let beyond = self.points.0.iter().filter(|(_, guess)| *guess > most).count();
        if beyond > 0 {
            let text = format!("{beyond} guesses above ${most:.0}, drawn at the upper border");
            let style = (FONT, 14).into_font().color(&INK);
            chart.draw_series([Text::new(text, (most * 0.02, most * 0.975), style)])?;
        }
        Ok(places)
    }
}

/// A running mean with its half-widths.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) ours: bool,
}

/// Mean absolute error over the first products.
pub(super) struct Running {
    pub(super) lines: Vec<Line>,
}

impl Picture for Running {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Vec<(i32, i32)>, B> {
        let n = self.lines.iter().map(|line| line.points.len()).max().unwrap_or(1).max(2);
        // The first few means jump about; the axis is made for what comes after them.
        let settled = |line: &Line| -> f64 {
            let from = (line.points.len() / 20).min(line.points.len().saturating_sub(1));
            line.points[from..].iter().map(|(mean, ci)| mean + ci).fold(0.0, f64::max)
        };
        let most = self.lines.iter().map(settled).fold(1.0, f64::max) * 1.08;
        let mut chart = ChartBuilder::on(area)
            .caption("Mean absolute error so far, with its 95 % interval", (FONT, 20))
            .margin(14)
            .x_label_area_size(42)
            .y_label_area_size(60)
            .build_cartesian_2d(1.0..n as f64, 0.0..most)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.08))
            .x_desc("products judged")
            .y_desc("$")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 15))
            .draw()?;
        for line in &self.lines {
            let colour = if line.ours { OURS } else { BAR };
            let at = |i: usize, value: f64| ((i + 1) as f64, value.clamp(0.0, most));
            let points = || line.points.iter().enumerate();
            let mut band: Vec<(f64, f64)> = points().map(|(i, (m, ci))| at(i, m + ci)).collect();
            band.extend(points().rev().map(|(i, (m, ci))| at(i, m - ci)));
            chart.draw_series([Polygon::new(band, colour.mix(0.15))])?;
            let mean: Vec<(f64, f64)> = points().map(|(i, (m, _))| at(i, *m)).collect();
            let drawn = chart.draw_series([PathElement::new(mean, colour.stroke_width(3))])?;
            let last = line.points.last().copied().unwrap_or_default();
            drawn.label(format!("{}: ${:.2} ± ${:.2}", line.name, last.0, last.1)).legend(
                move |(x, y)| Rectangle::new([(x, y - 3), (x + 18, y + 3)], colour.filled()),
            );
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .label_font((FONT, 15))
            .draw()?;
        Ok(Vec::new())
    }
}

/// A model's mean loss of each row, nats a token.
pub(super) struct RowLosses {
    pub(super) name: String,
    pub(super) losses: Vec<f64>,
    pub(super) ours: bool,
}

/// The rows' losses from the lowest to the highest, a line a model: which share of the rows lies
/// below a loss.
pub(super) struct SortedLosses(pub(super) Vec<RowLosses>);

impl Picture for SortedLosses {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Vec<(i32, i32)>, B> {
        let all = || self.0.iter().flat_map(|model| &model.losses).copied();
        let most = all().fold(0.0, f64::max).max(1e-3) * 1.08;
        let mut chart = ChartBuilder::on(area)
            .caption("Loss of each row, from the easiest to the hardest", (FONT, 20))
            .margin(14)
            .x_label_area_size(42)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..100.0, 0.0..most)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.08))
            .x_desc("share of the rows, %")
            .y_desc("loss, nats a token")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 15))
            .draw()?;
        for model in &self.0 {
            let colour = if model.ours { OURS } else { BAR };
            let mut sorted = model.losses.clone();
            sorted.sort_by(f64::total_cmp);
            // A step a row, so that one row is a line, too.
            let share = |i: usize| 100.0 * i as f64 / sorted.len() as f64;
            let steps = sorted.iter().enumerate();
            let line: Vec<_> =
                steps.flat_map(|(i, &loss)| [(share(i), loss), (share(i + 1), loss)]).collect();
            let drawn = chart.draw_series([PathElement::new(line, colour.stroke_width(3))])?;
            drawn.label(&model.name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 3), (x + 18, y + 3)], colour.filled())
            });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .label_font((FONT, 15))
            .draw()?;
        Ok(Vec::new())
    }
}

/// A bar of the leaderboard.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) ci: f64,
    pub(super) ours: bool,
}

/// Bars, the best on top.
pub(super) struct Leaderboard {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
    pub(super) faded: bool,
}

impl Leaderboard {
    /// Pixels that it wants.
    pub(super) fn height(&self) -> u32 {
        70 + 30 * self.bars.len() as u32
    }
}

impl Picture for Leaderboard {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Vec<(i32, i32)>, B> {
        let title = (FONT, 20).into_font().color(&BLACK);
        let area = area.titled(&self.title, title)?;
        let (width, height) = area.dim_in_pixel();
        let names = (f64::from(width) * 0.42) as i32;
        let room = f64::from(width as i32 - names) - 90.0;
        let most = self.bars.iter().map(|bar| bar.value + bar.ci).fold(1.0, f64::max);
        let row = (f64::from(height) - 20.0) / self.bars.len().max(1) as f64;
        for (i, bar) in self.bars.iter().enumerate() {
            let y = 10.0 + row * (i as f64 + 0.5);
            let half = (row * 0.36).min(13.0);
            let size = (row * 0.62).clamp(9.0, 15.0);
            let place = |value: f64| names + (value / most * room) as i32;
            let colour = match (bar.ours, self.faded) {
                (true, _) => OURS,
                (false, true) => FADED,
                (false, false) => BAR,
            };
            let right =
                (FONT, size).into_font().color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(bar.name.clone(), (names - 8, y as i32), right))?;
            let corners = [(names, (y - half) as i32), (place(bar.value), (y + half) as i32)];
            area.draw(&Rectangle::new(corners, colour.filled()))?;
            let end = place(bar.value + bar.ci);
            if bar.ci > 0.0 {
                let (from, at) = (place((bar.value - bar.ci).max(0.0)), y as i32);
                area.draw(&PathElement::new(vec![(from, at), (end, at)], INK.stroke_width(1)))?;
            }
            let left = (FONT, size).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(format!("{:.2}", bar.value), (end + 8, y as i32), left))?;
        }
        Ok(Vec::new())
    }
}

/// Everything on one sheet.
pub(super) struct Sheet<'a> {
    pub(super) scatters: Vec<&'a Scatter>,
    pub(super) running: &'a Running,
    pub(super) leaderboard: &'a Leaderboard,
    pub(super) published: &'a Leaderboard,
}

impl Picture for Sheet<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<Vec<(i32, i32)>, B> {
        let (top, rest) = area.split_vertically(620);
        for (area, scatter) in
            top.split_evenly((1, self.scatters.len().max(1))).iter().zip(&self.scatters)
        {
            scatter.draw(area)?;
        }
        let (middle, bottom) = rest.split_vertically(320);
        self.running.draw(&middle)?;
        let halves = bottom.split_evenly((1, 2));
        self.leaderboard.draw(&halves[0])?;
        self.published.draw(&halves[1])
    }
}
