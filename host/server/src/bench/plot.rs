//! The figures as a picture (SVG): for each case three bars on a logarithmic scale, sandboxed, native and bare, each with its rate, and the ratio of
//! the first two. Refuses everything that a browser would have to fetch.

use super::figures::Row;
use super::table::rate;

/// Width of the picture, in pixels.
const WIDTH: f64 = 900.0;
/// Where bars begin.
const LEFT: f64 = 130.0;
/// Width of a factor of ten.
const DECADE: f64 = 190.0;
/// The rate at which the scale begins.
const RATE_MIN: f64 = 1e5;
/// Decades of the scale.
const DECADES: u32 = 3;
/// Height of a bar.
const BAR: f64 = 14.0;
/// Height of a case.
const CASE: f64 = 60.0;
/// Height above the first case.
const TOP: f64 = 60.0;

/// The picture, with a line below its title.
pub(super) fn plot(rows: &[Row], subtitle: &str) -> String {
    let height = rows.iter().fold(TOP + 30.0, |height, _| height + CASE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    svg.push_str(&text((10.0, 20.0), "font-size=\"15\"", "gregor bench: records a second"));
    svg.push_str(&text((10.0, 38.0), "fill=\"#555555\"", subtitle));
    for decade in 0..=DECADES {
        let value = RATE_MIN * 10_f64.powi(i32::try_from(decade).unwrap_or(0));
        let x = place(value);
        svg.push_str(&format!("<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{}\" stroke=\"#dddddd\"/>\n", height - 25.0));
        svg.push_str(&text((x - 15.0, height - 8.0), "fill=\"#555555\"", &rate(value)));
    }
    let mut y = TOP;
    for row in rows {
        svg.push_str(&text((10.0, y + 22.0), "", row.case.name()));
        if let Some(ratio) = row.ratio {
            svg.push_str(&text((10.0, y + 38.0), "fill=\"#555555\"", &format!("{ratio:.2} × native")));
        }
        let bars =
            [(row.records_per_second, "#2b6cb0"), (row.native_records_per_second, "#90cdf4"), (row.bare_records_per_second, "#cbd5e0")];
        let mut at = y + 4.0;
        for (figure, colour) in bars {
            if let Some(figure) = figure {
                let end = place(figure);
                svg.push_str(&format!("<rect x=\"{LEFT}\" y=\"{at}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n", end - LEFT));
                svg.push_str(&text((end + 4.0, at + 11.0), "font-size=\"11\"", &rate(figure)));
            }
            at += BAR + 2.0;
        }
        y += CASE;
    }
    for (index, (label, colour)) in [("sandboxed", "#2b6cb0"), ("native", "#90cdf4"), ("bare", "#cbd5e0")].into_iter().enumerate() {
        let x = WIDTH - 270.0 + 90.0 * f64::from(u32::try_from(index).unwrap_or(0));
        svg.push_str(&format!("<rect x=\"{x}\" y=\"10\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n"));
        svg.push_str(&text((x + 16.0, 20.0), "", label));
    }
    svg + "</svg>\n"
}

/// Where a rate stands on the scale.
fn place(rate: f64) -> f64 {
    let decades = (rate / RATE_MIN).log10().clamp(0.0, f64::from(DECADES));
    LEFT + decades * DECADE
}

fn text((x, y): (f64, f64), attributes: &str, content: &str) -> String {
    let escaped = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{escaped}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case::{Case, Variant};
    use crate::bench::figures::Runs;
    use crate::bench::measure::Measured;

    #[test]
    fn rates_have_their_place_on_the_scale() {
        assert_eq!([1.0, 1e5, 1e6, 1e8, 1e12].map(place), [LEFT, LEFT, LEFT + DECADE, LEFT + 3.0 * DECADE, LEFT + 3.0 * DECADE]);
    }

    #[test]
    fn each_figure_has_a_bar_and_text_is_escaped() {
        let run = Measured { records: 1_000_000, nanoseconds: 1_000_000_000, ..Measured::default() };
        let runs = Runs::from([(Variant::Sandboxed, [(0, run.clone())].into()), (Variant::Native, [(0, run)].into())]);
        let svg = plot(&[Row::of(Case::Identity, &runs)], "a < b & c");
        // The ground, two bars, three of the key.
        assert_eq!(svg.matches("<rect ").count(), 6, "{svg}");
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("1.00 × native"), "{svg}");
    }
}
