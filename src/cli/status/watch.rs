//! `--watch`: the same on the whole terminal, again and again.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use ratatui::Frame;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::low_level::emulate_default_handler;

use super::collect;
use super::model::Status;
use super::table::Tone;
use super::view::View;
use super::words::counted;

const PERIOD: Duration = Duration::from_secs(1);
/// A signal is seen to no later than this.
const SLICE: Duration = Duration::from_millis(100);

/// Shows it until q, Esc or Ctrl-C. A signal that ends this program does so when the terminal is as it was.
///
/// # Errors
/// There is no terminal.
pub fn run() -> io::Result<()> {
    let signal = Arc::new(AtomicUsize::new(0));
    for which in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] {
        signal_hook::flag::register_usize(which, Arc::clone(&signal), which as usize)?;
    }
    let mut screen = Screen::default();
    loop {
        let mut terminal = ratatui::try_init()?;
        let result = screen.show(&mut terminal, &signal);
        // It shows the cursor.
        drop(terminal);
        ratatui::try_restore()?;
        match result? {
            End::Quit => return Ok(()),
            End::Signal(which) => emulate_default_handler(which)?,
        }
    }
}

/// Why the terminal is given back.
enum End {
    Quit,
    /// For what this signal does by default: it stops this program, or ends it.
    Signal(i32),
}

/// What is shown, and how.
#[derive(Default)]
struct Screen {
    view: View,
    /// The first line that is shown.
    first: usize,
    /// The filter is being typed.
    typing: bool,
    /// Lines of the terminal.
    height: usize,
}

impl Screen {
    fn show(
        &mut self,
        terminal: &mut ratatui::DefaultTerminal,
        signal: &AtomicUsize,
    ) -> io::Result<End> {
        loop {
            let status = collect::status();
            let now = Instant::now();
            self.view.note(&status, now);
            let next = now + PERIOD;
            terminal.draw(|frame| self.draw(frame, &status))?;
            while Instant::now() < next {
                match i32::try_from(signal.load(Relaxed)) {
                    Ok(which) if which != 0 => return Ok(End::Signal(which)),
                    _ => {}
                }
                if !event::poll(SLICE.min(next.saturating_duration_since(Instant::now())))? {
                    continue;
                }
                if let Event::Key(key) = event::read()? {
                    if let Some(end) = self.press(key) {
                        return Ok(end);
                    }
                }
                terminal.draw(|frame| self.draw(frame, &status))?;
            }
        }
    }

    fn press(&mut self, key: KeyEvent) -> Option<End> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let page = self.height.saturating_sub(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Some(End::Quit)
            }
            KeyCode::Char('z') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Some(End::Signal(SIGTSTP))
            }
            _ if self.typing => self.type_filter(key.code),
            KeyCode::Esc if !self.view.filter.is_empty() => self.view.filter.clear(),
            KeyCode::Char('q') | KeyCode::Esc => return Some(End::Quit),
            KeyCode::Char('s') => self.view.order = self.view.order.next(),
            KeyCode::Char('r') => self.view.reversed = !self.view.reversed,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Down | KeyCode::Char('j') => self.first = self.first.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(1),
            KeyCode::PageDown => self.first = self.first.saturating_add(page),
            KeyCode::PageUp => self.first = self.first.saturating_sub(page),
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = usize::MAX,
            _ => {}
        }
        None
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.view.filter.clear();
            }
            KeyCode::Backspace => drop(self.view.filter.pop()),
            KeyCode::Char(c) => self.view.filter.push(c),
            _ => {}
        }
    }

    /// As many lines as there is room for, from the first one on.
    fn draw(&mut self, frame: &mut Frame<'_>, status: &Status) {
        let area = frame.area();
        self.height = usize::from(area.height);
        let head = Style::new().add_modifier(Modifier::REVERSED);
        let mut lines = vec![Line::styled(self.head(status), head)];
        let body = self.view.lines(status, usize::from(area.width));
        let most = body.len().saturating_sub(self.height.saturating_sub(1));
        self.first = self.first.min(most);
        let shown = body.into_iter().skip(self.first).take(self.height);
        lines.extend(shown.map(|line| Line::styled(line.text, style(line.tone))));
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn head(&self, status: &Status) -> String {
        let pools = counted(status.pools.len(), "pool");
        let View { order, reversed, filter, .. } = &self.view;
        let order = format!("by {}{}", order.word(), if *reversed { " reversed" } else { "" });
        if self.typing {
            return format!("jsshim: {pools}; show what has: {filter}_");
        }
        let filter = if filter.is_empty() { String::new() } else { format!(", with '{filter}'") };
        format!("jsshim: {pools}, {order}{filter}; q ends, s sorts, r reverses, / filters")
    }
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Head => Style::new().add_modifier(Modifier::BOLD),
        Tone::Plain => Style::new(),
        Tone::Held => Style::new().fg(Color::Yellow),
        Tone::Warning => Style::new().fg(Color::Red),
    }
}
