//! A line chart in text: each character is a cell of 2×4 braille dots.

/// Draws a curve and single marks over it in `width` × `height` characters, axes included; an empty
/// text if there is nothing finite to draw or no room.
pub fn chart(curve: &[(f64, f64)], marks: &[(f64, f64)], width: usize, height: usize) -> String {
    const MARGIN: usize = 9;
    let finite = |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite();
    let curve: Vec<(f64, f64)> = curve.iter().filter(finite).copied().collect();
    let marks: Vec<(f64, f64)> = marks.iter().filter(finite).copied().collect();
    let all = || curve.iter().chain(&marks);
    if all().next().is_none() || width < MARGIN + 8 || height < 3 {
        return String::new();
    }
    let (columns, rows) = (width - MARGIN, height - 1);
    let extent = |pick: fn(&(f64, f64)) -> f64| {
        all().map(pick).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
    };
    let (x0, x1) = extent(|p| p.0);
    let (y0, y1) = extent(|p| p.1);
    let place = |v: f64, low: f64, high: f64, dots: usize| -> usize {
        let share = if high > low { (v - low) / (high - low) } else { 0.5 };
        (share * (dots - 1) as f64).round() as usize
    };
    let dot = |p: &(f64, f64)| {
        (place(p.0, x0, x1, 2 * columns), 4 * rows - 1 - place(p.1, y0, y1, 4 * rows))
    };
    let mut cells = vec![0u8; columns * rows];
    let mut set = |x: usize, y: usize| {
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        cells[y / 4 * columns + x / 2] |= BITS[y % 4][x % 2];
    };
    let dots: Vec<(usize, usize)> = curve.iter().map(dot).collect();
    for pair in dots.windows(2) {
        let ((xa, ya), (xb, yb)) = (pair[0], pair[1]);
        let steps = xa.abs_diff(xb).max(ya.abs_diff(yb)).max(1);
        for i in 0..=steps {
            let along = |a: usize, b: usize| {
                (a as f64 + (b as f64 - a as f64) * i as f64 / steps as f64).round() as usize
            };
            set(along(xa, xb), along(ya, yb));
        }
    }
    dots.iter().for_each(|&(x, y)| set(x, y));
    let mut signs: Vec<char> =
        cells.iter().map(|&bits| char::from_u32(0x2800 + u32::from(bits)).unwrap_or(' ')).collect();
    for (x, y) in marks.iter().map(dot) {
        signs[y / 4 * columns + x / 2] = '●';
    }
    let mut out = String::new();
    for (row, line) in signs.chunks(columns).enumerate() {
        let label = match row {
            0 => format!("{y1:>7.3}"),
            r if r + 1 == rows => format!("{y0:>7.3}"),
            _ => " ".repeat(7),
        };
        out.push_str(&format!("{label} │{}\n", line.iter().collect::<String>()));
    }
    let (from, to) = (format!("{x0}"), format!("step {x1}"));
    let gap = columns.saturating_sub(from.len() + to.len());
    out.push_str(&format!("{:>MARGIN$}{from}{}{to}", "", " ".repeat(gap)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_line_goes_from_the_upper_left_to_the_lower_right() {
        let line: Vec<(f64, f64)> = (0..=10).map(|i| (f64::from(i), f64::from(10 - i))).collect();
        let text = chart(&line, &[(10.0, 5.0)], 29, 6);
        let lines: Vec<Vec<char>> = text.lines().map(|l| l.chars().collect()).collect();
        assert_eq!(lines.len(), 6);
        assert!(lines[..5].iter().all(|l| l.len() == 29), "{text}");
        assert!(text.starts_with(" 10.000 │") && text.contains("  0.000 │"), "{text}");
        assert!(text.ends_with("step 10"), "{text}");
        let empty = '\u{2800}';
        assert!(lines[0][9] != empty && lines[0][28] == empty, "{text}");
        assert!(lines[4][28] != empty && lines[4][9] == empty, "{text}");
        assert_eq!(text.matches('●').count(), 1);
        assert_eq!(lines[2][28], '●', "{text}");
    }

    #[test]
    fn odd_input_draws_what_it_can() {
        assert_eq!(chart(&[], &[], 60, 10), "");
        assert_eq!(chart(&[(1.0, f64::NAN)], &[], 60, 10), "");
        assert_eq!(chart(&[(1.0, 1.0)], &[], 10, 10), "");
        let one = chart(&[(1.0, 2.0)], &[], 60, 10);
        let dots = one.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
        assert_eq!(dots, 1, "{one}");
    }
}
