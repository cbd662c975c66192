//! One kind of picture: rows of dots on a logarithmic axis.

use std::fmt::Write as _;

/// A picture.
pub(crate) struct Dots {
    pub(crate) title: String,
    /// What the axis shows.
    pub(crate) axis: String,
    /// The names of the dots of a row.
    pub(crate) series: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
    /// Where a line is drawn to compare with.
    pub(crate) reference: Option<f64>,
}

/// A row: a value for each of the series.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) values: Vec<Option<f64>>,
    /// SampledFaults in bold.
    pub(crate) ours: bool,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 64.0;
const LINE: f64 = 24.0;
const COLOURS: [&str; 3] = ["#0b6e99", "#d9730d", "#9065b0"];

impl Dots {
    /// The picture; `None` if there is nothing to show.
    pub(crate) fn draw(&self) -> Option<String> {
        let values = self.rows.iter().flat_map(|row| row.values.iter().flatten());
        let shown = values.copied().chain(self.reference);
        let (low, high) = shown.fold((f64::MAX, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if self.rows.is_empty() || high <= 0.0 {
            return None;
        }
        let axis = Axis {
            low: low / 1.2,
            high: high * 1.2,
        };
        let bottom = TOP + LINE * self.rows.len() as f64;
        let mut out = String::new();
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#222\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"16\" y=\"24\" font-size=\"16\" font-weight=\"600\">{title}</text>\n\
             <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{name}</text>",
            height = bottom + 56.0,
            title = escape(&self.title),
            middle = (LEFT + WIDTH - RIGHT) / 2.0,
            below = bottom + 40.0,
            name = escape(&self.axis),
        );
        self.legend(&mut out);
        for tick in axis.ticks() {
            let x = axis.x(tick);
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {from:.1}V{bottom:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"#666\">{tick}</text>",
                from = TOP - 8.0,
                y = bottom + 18.0,
            );
        }
        if let Some(reference) = self.reference {
            let x = axis.x(reference);
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {from:.1}V{bottom:.1}\" stroke=\"#888\" stroke-dasharray=\"4 3\"/>",
                from = TOP - 8.0,
            );
        }
        for (number, row) in self.rows.iter().enumerate() {
            row.draw(
                &axis,
                TOP + LINE * number as f64 + LINE / 2.0,
                &self.series,
                &mut out,
            );
        }
        out.push_str("</svg>\n");
        Some(out)
    }

    fn legend(&self, out: &mut String) {
        for (number, (name, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            let x = LEFT + 110.0 * number as f64;
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"42\" r=\"5\" fill=\"{colour}\"/>\
                 <text x=\"{text:.1}\" y=\"46\">{name}</text>",
                text = x + 10.0,
                name = escape(name),
            );
        }
    }
}

impl Row {
    fn draw(&self, axis: &Axis, y: f64, series: &[&str], out: &mut String) {
        let weight = if self.ours { "600" } else { "400" };
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{text:.1}\" text-anchor=\"end\" font-weight=\"{weight}\">{label}</text>",
            x = LEFT - 12.0,
            text = y + 4.0,
            label = escape(&self.label),
        );
        for ((value, colour), name) in self.values.iter().zip(COLOURS).zip(series) {
            let Some(value) = value else { continue };
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\">\
                 <title>{label}, {name}: {value:.2}</title></circle>",
                x = axis.x(*value),
                label = escape(&self.label),
            );
        }
    }
}

struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn x(&self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }

    /// 1, 2, 5 times every power of ten; 1 alone if there are many.
    fn ticks(&self) -> Vec<f64> {
        // Past four powers of ten the numbers would run into one another.
        let wide = self.high / self.low > 1e4;
        let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let firsts: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = powers.flat_map(|power| firsts.iter().map(move |first| (first, power)));
        // Written out and read again, so that 0.1 is not 0.09999.
        let value = |(first, power): (&f64, i32)| format!("{first}e{power}").parse().ok();
        all.filter_map(value)
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_every_row_and_value() {
        let row = |label: &str, values| Row {
            label: label.to_owned(),
            values,
            ours: false,
        };
        let picture = Dots {
            title: "a < b".to_owned(),
            axis: "×".to_owned(),
            series: vec!["d1", "d16"],
            rows: vec![
                row("one", vec![Some(0.5), None]),
                row("two", vec![Some(2.0), Some(50.0)]),
            ],
            reference: Some(1.0),
        };
        let drawn = picture.draw().unwrap();
        assert_eq!(drawn.matches("<title>").count(), 3);
        assert!(drawn.contains("a &lt; b") && drawn.contains(">two<"));
        assert!(
            Dots {
                rows: vec![],
                ..picture
            }
            .draw()
            .is_none()
        );
    }
}
