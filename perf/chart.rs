//! A picture of each case: a bar a party, with what it spreads over, as SVG.
//!
//! Bars begin at zero and share one scale. A party that is more than eight times as far out as the
//! agent would make everybody else's bar a dot: its bar is cut and says so, the number stays.

use crate::figures::Key;
use crate::turns::Results;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::io;
use std::path::Path;

const LABEL_WIDTH: i32 = 140;
const PANEL_WIDTH: i32 = 250;
/// Beside a bar, for its number.
const NUMBER_WIDTH: i32 = 130;
const ROW_HEIGHT: i32 = 26;
const HEAD_HEIGHT: i32 = 64;
const CUT_AT: f64 = 8.0;

const AGENT: RGBColor = RGBColor(31, 119, 180);
const LIMIT: RGBColor = RGBColor(140, 148, 156);
const PEER: RGBColor = RGBColor(230, 145, 56);
const INK: RGBColor = RGBColor(40, 44, 52);

/// The two figures of each picture that a case has.
const PANELS: [&[(Key, &str)]; 3] = [
    &[(Key::Steady, "CPU µs an event, steady"), (Key::Rate, "million events a second")],
    &[(Key::P50, "p50, ms"), (Key::P99, "p99, ms")],
    &[(Key::Core, "% of one core"), (Key::Peak, "peak resident, MiB")],
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Writes `<case>.svg` for each case into the folder.
pub(crate) fn write(folder: &Path, results: &[Results]) -> io::Result<()> {
    for one in results {
        let has =
            |panel: &&&[(Key, &str)]| panel.iter().any(|(key, _)| !bars(one, *key).is_empty());
        if let Some(panels) = PANELS.iter().find(has) {
            let path = folder.join(format!("{}.svg", one.case.name));
            draw(&path, one, panels).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

struct Bar {
    name: &'static str,
    value: f64,
    least: f64,
    most: f64,
}

fn bars(results: &Results, key: Key) -> Vec<Bar> {
    let spread = |name: &'static str| {
        let it = results.spread(name, key)?;
        Some(Bar { name, value: it.median, least: it.least, most: it.most })
    };
    results.parties.iter().filter_map(|(name, _)| spread(name)).collect()
}

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

fn draw(path: &Path, results: &Results, panels: &[(Key, &str)]) -> Drawn {
    let rows = results.parties.len() as i32;
    let width = LABEL_WIDTH + panels.len() as i32 * (PANEL_WIDTH + NUMBER_WIDTH);
    let height = HEAD_HEIGHT + rows * ROW_HEIGHT + 12;
    let area = SVGBackend::new(path, (width as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("{}: {}", results.case.name, results.case.what);
    text(&area, &title, (12, 18), 18, HPos::Left)?;
    for (row, (name, _)) in results.parties.iter().enumerate() {
        text(&area, name, (LABEL_WIDTH - 8, middle(row)), 16, HPos::Right)?;
    }
    for (index, (key, title)) in panels.iter().enumerate() {
        let left = LABEL_WIDTH + index as i32 * (PANEL_WIDTH + NUMBER_WIDTH);
        text(&area, title, (left, 46), 15, HPos::Left)?;
        panel(&area, results, *key, left)?;
    }
    area.present()
}

fn panel(area: &Area<'_>, results: &Results, key: Key, left: i32) -> Drawn {
    let bars = bars(results, key);
    let own = bars.first().map_or(0.0, |bar| bar.value);
    let cut = own * CUT_AT;
    let shown = bars.iter().map(|bar| bar.most).filter(|most| *most <= cut);
    let scale = shown.fold(own, f64::max).max(f64::MIN_POSITIVE);
    for (row, (name, _)) in results.parties.iter().enumerate() {
        let Some(bar) = bars.iter().find(|bar| bar.name == *name) else { continue };
        let is_cut = bar.value > scale;
        let x = |value: f64| left + (value.min(scale) / scale * f64::from(PANEL_WIDTH)) as i32;
        let (y, end) = (middle(row), x(bar.value));
        let color = colour(results, row);
        area.draw(&Rectangle::new([(left, y - 8), (end, y + 8)], color.filled()))?;
        if is_cut {
            // A slanted gap: it goes on beyond the picture.
            let gap =
                vec![(end - 24, y + 9), (end - 16, y - 9), (end - 10, y - 9), (end - 18, y + 9)];
            area.draw(&Polygon::new(gap, WHITE.filled()))?;
        } else {
            let line = [(x(bar.least), y), (x(bar.most), y)];
            area.draw(&PathElement::new(line, INK.stroke_width(1)))?;
        }
        let number = key.show(bar.value);
        text(area, &number, (x(bar.most.max(bar.value)) + 6, y), 15, HPos::Left)?;
    }
    Ok(())
}

/// The agent, who stands first, the limit programs, and everybody else.
fn colour(results: &Results, row: usize) -> RGBColor {
    use crate::party::Program;
    let name = results.parties[row].0;
    let party = results.case.parties.iter().find(|party| party.name == name);
    match party.map(|party| party.program) {
        Some(Program::Flumen | Program::FlumenForFlume(_)) => AGENT,
        Some(Program::Limit(..)) => LIMIT,
        _ => PEER,
    }
}

fn middle(row: usize) -> i32 {
    HEAD_HEIGHT + row as i32 * ROW_HEIGHT + ROW_HEIGHT / 2
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, side: HPos) -> Drawn {
    let style = TextStyle::from(("sans-serif", size)).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style.color(&INK)))
}
