//! `--watch`: the same on the whole terminal, again and again.

use std::io;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use ratatui::Frame;

use super::collect;
use super::model::Status;
use super::table::{self, Tone};

const PERIOD: Duration = Duration::from_secs(1);

/// Shows it until q, Esc or Ctrl-C.
///
/// # Errors
/// There is no terminal.
pub fn run() -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = show(&mut terminal);
    ratatui::try_restore()?;
    result
}

fn show(terminal: &mut ratatui::DefaultTerminal) -> io::Result<()> {
    let mut first = 0u16;
    loop {
        let status = collect::status();
        let next = Instant::now() + PERIOD;
        loop {
            terminal.draw(|frame| draw(frame, &status, &mut first))?;
            if !event::poll(next.saturating_duration_since(Instant::now()))? {
                break;
            }
            let Event::Key(key) = event::read()? else { continue };
            let interrupt = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                _ if key.kind == KeyEventKind::Release => {}
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if interrupt => return Ok(()),
                KeyCode::Down | KeyCode::Char('j') => first = first.saturating_add(1),
                KeyCode::Up | KeyCode::Char('k') => first = first.saturating_sub(1),
                KeyCode::PageDown => first = first.saturating_add(terminal.size()?.height),
                KeyCode::PageUp => first = first.saturating_sub(terminal.size()?.height),
                _ => {}
            }
        }
    }
}

/// As many lines as there is room for, from `first` on.
fn draw(frame: &mut Frame<'_>, status: &Status, first: &mut u16) {
    let area = frame.area();
    let width = usize::from(area.width);
    let head = format!("jsshim: {} pools; q ends, arrows scroll", status.pools.len());
    let mut lines = vec![Line::styled(head, Style::new().add_modifier(Modifier::REVERSED))];
    let pools = status.pools.iter().flat_map(|pool| table::lines(pool, Some(width)));
    let body: Vec<_> = pools.map(|line| Line::styled(line.text, style(line.tone))).collect();
    let most = body.len().saturating_sub(usize::from(area.height).saturating_sub(1));
    *first = (*first).min(u16::try_from(most).unwrap_or(u16::MAX));
    lines.extend(body.into_iter().skip(usize::from(*first)));
    frame.render_widget(Paragraph::new(lines), area);
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Head => Style::new().add_modifier(Modifier::BOLD),
        Tone::Plain => Style::new(),
        Tone::Held => Style::new().fg(Color::Yellow),
        Tone::Warning => Style::new().fg(Color::Red),
    }
}
