//! Plots as SVG: lines over two axes, stacked bars. Colours come from the
//! page's style, so that one drawing fits light and dark.
//!
//! Never scales two lines of one plot differently, and begins every linear axis
//! at zero: no difference looks greater than it is.

use std::fmt::Write;

/// Width of a plot over the whole page, and of one of two beside each other.
pub const WHOLE: f64 = 1_000.0;
/// See [`WHOLE`].
pub const HALF: f64 = 520.0;
/// Height of a plot, and the room for its labels.
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    label: &'static str,
    /// Places and what stands there.
    ticks: Vec<(f64, String)>,
    low: f64,
    high: f64,
    is_log: bool,
}

/// One line; its points run from left to right.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is, shown when it is pointed at.
    pub name: String,
    /// Class of its colour, such as `c0`.
    pub class: String,
    /// Drawn in dashes.
    pub is_dashed: bool,
    /// Places in the units of the axes.
    pub points: Vec<(f64, f64)>,
}

/// One bar, from the left: parts on top of each other.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What stands before it.
    pub name: String,
    /// Class of its colour.
    pub class: String,
    /// Lengths of its parts; the second one is paler.
    pub parts: Vec<f64>,
    /// What stands behind it.
    pub text: String,
}

impl Axis {
    /// From 0 to a round number at or above `high`.
    pub fn linear(label: &'static str, high: f64) -> Self {
        let step = step(high);
        let count = (high / step).ceil().max(1.0) as u32;
        let ticks = (0..=count).map(|n| step * f64::from(n)).map(|at| (at, short(at))).collect();
        Self { label, ticks, low: 0.0, high: step * f64::from(count), is_log: false }
    }

    /// Powers of ten round `low` and `high`, which stand for microseconds.
    pub fn times(label: &'static str, low: f64, high: f64) -> Self {
        let from = low.max(1.0).log10().floor();
        let to = high.max(low).max(1.0).log10().ceil().max(from + 1.0);
        let powers = (from as i32)..=(to as i32);
        let ticks = powers.map(|power| 10f64.powi(power)).map(|at| (at, micros(at))).collect();
        Self { label, ticks, low: 10f64.powf(from), high: 10f64.powf(to), is_log: true }
    }

    /// Percentiles, stretched so that each further nine takes the same room.
    pub fn percentiles() -> Self {
        let ticks = [(0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")];
        let ticks = ticks.map(|(at, text)| (nines(at), format!("{text} %")));
        Self {
            label: "percentile",
            ticks: ticks.to_vec(),
            low: 0.0,
            high: nines(0.9999),
            is_log: false,
        }
    }

    fn share(&self, value: f64) -> f64 {
        let (value, low, high) = match self.is_log {
            true => (value.max(self.low).log10(), self.low.log10(), self.high.log10()),
            false => (value, self.low, self.high),
        };
        ((value - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// Where a quantile stands on an axis of [`Axis::percentiles`].
pub fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile.min(0.9999)).log10()
}

/// Lines over two axes, `wide`, which is [`WHOLE`] or [`HALF`].
pub fn lines(wide: f64, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let place = |at: (f64, f64)| {
        let left = LEFT + x.share(at.0) * (wide - LEFT - RIGHT);
        let top = TOP + (1.0 - y.share(at.1)) * (HEIGHT - TOP - BOTTOM);
        (left, top)
    };
    let mut svg = format!("<svg viewBox=\"0 0 {wide} {HEIGHT}\" role=\"img\">");
    let (right, bottom) = (wide - RIGHT, HEIGHT - BOTTOM);
    for (at, text) in &y.ticks {
        let (_, top) = place((x.low, *at));
        put(&mut svg, format_args!("<path class=\"grid\" d=\"M{LEFT} {top:.1}H{right}\"/>"));
        let label = top + 4.0;
        put(
            &mut svg,
            format_args!("<text x=\"{}\" y=\"{label:.1}\" class=\"end\">{text}</text>", LEFT - 8.0),
        );
    }
    for (at, text) in &x.ticks {
        let (left, _) = place((*at, y.low));
        put(&mut svg, format_args!("<path class=\"grid\" d=\"M{left:.1} {TOP}V{bottom}\"/>"));
        let below = bottom + 17.0;
        put(
            &mut svg,
            format_args!("<text x=\"{left:.1}\" y=\"{below}\" class=\"middle\">{text}</text>"),
        );
    }
    let (middle, lowest) = ((LEFT + right) / 2.0, HEIGHT - 6.0);
    put(
        &mut svg,
        format_args!(
            "<text x=\"{middle}\" y=\"{lowest}\" class=\"middle label\">{}</text>",
            x.label
        ),
    );
    let half = (TOP + bottom) / 2.0;
    put(
        &mut svg,
        format_args!(
            "<text transform=\"translate(12 {half}) rotate(-90)\" class=\"middle label\">{}</text>",
            y.label
        ),
    );
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let dashes = if line.is_dashed { " dashed" } else { "" };
        put(&mut svg, format_args!("<path class=\"line {}{dashes}\" d=\"", line.class));
        for (number, point) in line.points.iter().enumerate() {
            let (left, top) = place(*point);
            let letter = if number == 0 { 'M' } else { 'L' };
            put(&mut svg, format_args!("{letter}{left:.1} {top:.1}"));
        }
        put(&mut svg, format_args!("\"><title>{}</title></path>", escape(&line.name)));
    }
    svg.push_str("</svg>");
    svg
}

/// Bars from the left, all on one scale that begins at zero.
pub fn bars(bars: &[Bar]) -> String {
    let (row, name, text) = (34.0, 190.0, 190.0);
    let height = row * bars.len() as f64 + 6.0;
    let longest = bars.iter().map(|bar| bar.parts.iter().sum::<f64>()).fold(0.0, f64::max);
    let scale = if longest > 0.0 { (WHOLE - name - text) / longest } else { 0.0 };
    let mut svg = format!("<svg viewBox=\"0 0 {WHOLE} {height}\" role=\"img\">");
    for (number, bar) in bars.iter().enumerate() {
        let top = row * number as f64 + 6.0;
        let base = top + 16.0;
        let label = escape(&bar.name);
        put(
            &mut svg,
            format_args!(
                "<text x=\"{}\" y=\"{base}\" class=\"end strong\">{label}</text>",
                name - 10.0
            ),
        );
        let mut left = name;
        for (place, part) in bar.parts.iter().enumerate() {
            let width = part * scale;
            let pale = if place > 0 { " pale" } else { "" };
            put(
                &mut svg,
                format_args!(
                    "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"22\" \
                     class=\"bar {}{pale}\"/>",
                    bar.class
                ),
            );
            left += width;
        }
        let behind = left + 8.0;
        put(
            &mut svg,
            format_args!("<text x=\"{behind:.1}\" y=\"{base}\">{}</text>", escape(&bar.text)),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A number of people's length: `12`, `1.5`, `12 000`, `3.4 M`.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e7 => format!("{:.0} M", value / 1e6),
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        size if size >= 1e3 => {
            let whole = value.round() as i64;
            format!("{}\u{2009}{:03}", whole / 1_000, (whole % 1_000).abs())
        }
        size if size >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Microseconds with the unit that suits them.
pub fn micros(value: f64) -> String {
    let three = |value: f64| match value {
        high if high >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        high if high >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    match value {
        long if long >= 1e6 => format!("{} s", three(value / 1e6)),
        middle if middle >= 1e3 => format!("{} ms", three(value / 1e3)),
        _ => format!("{} µs", three(value)),
    }
}

/// Text that may stand between tags and in quotes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A step of 1, 2 or 5 that makes about five of `high`.
fn step(high: f64) -> f64 {
    let rough = high.max(1e-9) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= rough);
    times.unwrap_or(10.0) * power
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    svg.write_fmt(text).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_steps_and_hold_their_greatest() {
        for (high, top, count) in
            [(9.0, 10.0, 6), (103.0, 150.0, 4), (0.0, 0.0, 2), (11_900.0, 15_000.0, 4)]
        {
            let axis = Axis::linear("x", high);
            if high > 0.0 {
                assert_eq!((axis.high, axis.ticks.len()), (top, count), "{high}");
            }
            assert!(axis.high >= high);
        }
        let times = Axis::times("t", 150.0, 2_500_000.0);
        let texts: Vec<&str> = times.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(texts, ["100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        assert!((times.share(1_000.0) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn each_nine_takes_the_same_room() {
        let axis = Axis::percentiles();
        let room = |from: f64, to: f64| axis.share(nines(to)) - axis.share(nines(from));
        assert!((room(0.9, 0.99) - room(0.99, 0.999)).abs() < 1e-9);
        assert_eq!(axis.share(nines(1.0)), 1.0);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.25, 1.5, 12.0, 999.0, 11_843.0, 3_400_000.0].map(short);
        assert_eq!(texts, ["0.25", "1.5", "12", "999", "11\u{2009}843", "3.4 M"]);
        assert_eq!(
            [3.0, 1_234.0, 25_600.0, 2e6].map(micros),
            ["3 µs", "1.23 ms", "25.6 ms", "2 s"]
        );
    }

    #[test]
    fn a_plot_keeps_inside_its_frame_and_escapes_names() {
        let line = Line {
            name: "a<b".to_owned(),
            class: "c0".to_owned(),
            is_dashed: true,
            points: vec![(0.0, 0.0), (5.0, 999.0)],
        };
        let svg = lines(640.0, &Axis::linear("s", 5.0), &Axis::linear("n", 10.0), &[line]);
        assert!(svg.contains("a&lt;b") && svg.contains("dashed"));
        assert!(svg.contains("L610.0 14.0"), "beyond the axis is at its end: {svg}");
        let bar =
            Bar { name: "x".into(), class: "c1".into(), parts: vec![3.0, 1.0], text: "4".into() };
        assert_eq!(bars(&[bar]).matches("<rect").count(), 2);
    }
}
