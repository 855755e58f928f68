//! The loop, on the main thread: what happens goes in, what is wished goes out, and at most one frame is
//! drawn between. The network is never waited for here.

mod asks;
mod follow;
mod guard;
mod idle;
mod outside;

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::io::{self, BufWriter, Stdout};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{Event, EventStream, MouseEventKind};
use crossterm::queue;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use futures_core::Stream as _;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use relayflow_core::api::codes::Exit;
use relayflow_core::clock::Clock;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

use super::app::{State, next_tick, update};
use super::ctx::Setup;
use super::frame;
use super::msg::{Answer, Effect, Moment, Msg, Question, Ticket};
use super::route::Route;
use crate::app::App;
use crate::backend::Backend;
use crate::context::{Target, Way};
use crate::failure::{Done, Failure};

/// Between two frames, at least; less where a key was pressed.
const FRAME: Duration = Duration::from_millis(33);
const FRAME_OF_KEY: Duration = Duration::from_millis(8);
/// Questions under way at once, but for the pulse and deeds.
const ASKS_MAX: usize = 4;
/// Messages taken in before the loop looks at the keyboard again.
const DRAIN_MAX: usize = 256;
/// A terminal that fails so often in a row is gone.
const FAILURES_MAX: u32 = 5;

/// What the command line said of the TUI.
pub(crate) struct Begin {
    pub(crate) setup: Setup,
    pub(crate) route: Route,
    pub(crate) has_mouse: bool,
    /// For tests: what goes wrong.
    pub(crate) inject: Option<String>,
}

type Screen = Terminal<CrosstermBackend<BufWriter<Stdout>>>;

struct Runtime<'a> {
    app: &'a App,
    terminal: Screen,
    events: Option<EventStream>,
    to_ui: UnboundedSender<Msg>,
    backend: Arc<Backend>,
    target: Target,
    asked: HashMap<Ticket, AbortHandle>,
    /// Deeds under way.
    deeds: HashSet<Ticket>,
    idle: idle::Idle,
    limit: Arc<Semaphore>,
    following: Option<AbortHandle>,
    ring: Arc<follow::Ring>,
    /// The frame that is on the screen.
    shown: Option<Buffer>,
    began: Instant,
    has_mouse: bool,
    /// The end, once it is decided.
    done: Option<Done>,
    failures: u32,
}

/// Runs until it is left.
pub(crate) async fn run(app: &App, backend: Backend, begin: Begin) -> Done {
    let (to_ui, mut from_tasks) = unbounded_channel();
    guard::hook_panics(to_ui.clone());
    guard::enter(begin.has_mouse).map_err(|e| no_terminal(&e))?;
    let _guard = guard::Guard;
    let size = crossterm::terminal::size().map_err(|e| no_terminal(&e))?;
    let writer = BufWriter::with_capacity(64 * 1024, io::stdout());
    let terminal = Terminal::new(CrosstermBackend::new(writer)).map_err(|e| no_terminal(&e))?;
    let mut runtime = Runtime {
        app,
        terminal,
        events: Some(EventStream::new()),
        to_ui,
        backend: Arc::new(backend),
        target: begin.setup.target.clone(),
        asked: HashMap::new(),
        deeds: HashSet::new(),
        idle: idle::Idle::new(app),
        limit: Arc::new(Semaphore::new(ASKS_MAX)),
        following: None,
        ring: Arc::new(follow::Ring::default()),
        shown: None,
        began: Instant::now(),
        has_mouse: begin.has_mouse,
        done: None,
        failures: 0,
    };
    let mut state = State::new(begin.setup, runtime.now(), size, begin.route);
    // What it waits for is on the screen before anybody is asked.
    runtime.draw(&state);
    runtime.inject(begin.inject.as_deref());
    runtime.take(&mut state, Msg::Tick);
    runtime.work(&mut state, &mut from_tasks).await
}

fn no_terminal(error: &io::Error) -> Failure {
    Failure::error(format!("the terminal does not answer: {error}"))
}

/// TERM and HUP, as the exits that they come to.
async fn signal() -> u8 {
    use tokio::signal::unix::{SignalKind, signal};
    // In raw mode Ctrl-C is a key; while an editor has the terminal, it is the editor's.
    let _interrupt = signal(SignalKind::interrupt());
    let (Ok(mut term), Ok(mut hup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => 143,
        _ = hup.recv() => 129,
    }
}

/// The next event of the terminal; never, while another program has it.
async fn next_event(events: &mut Option<EventStream>) -> Option<io::Result<Event>> {
    match events {
        Some(events) => poll_fn(|cx| Pin::new(&mut *events).poll_next(cx)).await,
        None => std::future::pending().await,
    }
}

impl Runtime<'_> {
    fn now(&self) -> Moment {
        Moment { run: self.began.elapsed(), wall: Clock::Wall.now() }
    }

    async fn work(&mut self, state: &mut State, from_tasks: &mut UnboundedReceiver<Msg>) -> Done {
        let signal = signal();
        tokio::pin!(signal);
        let ring = Arc::clone(&self.ring);
        let mut drawn = Instant::now();
        // When a frame is due, if something may have changed.
        let mut due: Option<Instant> = Some(drawn);
        let mut tick = Instant::now();
        loop {
            if let Some(done) = self.done.take() {
                guard::leave();
                return done;
            }
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                self.draw(state);
                due = None;
                drawn = Instant::now();
                continue;
            }
            let is_asking = !self.asked.is_empty() || !self.deeds.is_empty();
            let is_told = !from_tasks.is_empty() || !ring.is_empty();
            self.idle.see(due.is_none() && !is_asking && !is_told);
            let wake = due.map_or(tick, |due| due.min(tick));
            let gap = tokio::select! {
                biased;
                exit = &mut signal => {
                    self.take(state, Msg::Signal(exit));
                    FRAME
                }
                event = next_event(&mut self.events) => {
                    self.on_event(state, event);
                    FRAME_OF_KEY
                }
                msg = from_tasks.recv() => {
                    let mut next = msg;
                    for _ in 0..DRAIN_MAX {
                        let Some(msg) = next.take() else { break };
                        self.take(state, msg);
                        next = from_tasks.try_recv().ok();
                    }
                    if let Some(msg) = next {
                        self.take(state, msg);
                    }
                    FRAME
                }
                () = ring.filled.notified() => {
                    if let Some(news) = ring.take() {
                        self.take(state, Msg::Tail(news));
                    }
                    FRAME
                }
                () = sleep_until(wake.into()) => {
                    if Instant::now() < tick {
                        continue;
                    }
                    self.take(state, Msg::Tick);
                    FRAME
                }
            };
            tick = Instant::now() + next_tick(state);
            let soon = (drawn + gap).max(Instant::now());
            due = Some(due.map_or(soon, |due| due.min(soon)));
        }
    }

    fn on_event(&mut self, state: &mut State, event: Option<io::Result<Event>>) {
        if let Some(Ok(Event::Key(_) | Event::Paste(_) | Event::Mouse(_))) = &event {
            self.idle.key();
        }
        let msg = match event {
            Some(Ok(Event::Key(key))) => Msg::Key(key),
            Some(Ok(Event::Paste(text))) => Msg::Paste(text),
            Some(Ok(Event::Resize(columns, rows))) => Msg::Size(columns, rows),
            Some(Ok(Event::Mouse(mouse))) => match mouse.kind {
                MouseEventKind::Down(_) => Msg::Click { row: mouse.row },
                MouseEventKind::ScrollDown => Msg::Wheel { down: true },
                MouseEventKind::ScrollUp => Msg::Wheel { down: false },
                MouseEventKind::Up(_)
                | MouseEventKind::Drag(_)
                | MouseEventKind::Moved
                | MouseEventKind::ScrollLeft
                | MouseEventKind::ScrollRight => return,
            },
            Some(Ok(Event::FocusGained | Event::FocusLost)) => return,
            // The terminal is gone: as a hang-up.
            Some(Err(_)) | None => Msg::Signal(129),
        };
        self.take(state, msg);
    }

    /// Takes a message in, and carries out what that leads to.
    fn take(&mut self, state: &mut State, msg: Msg) {
        if let Msg::Answer(answer) = &msg {
            self.asked.remove(&answer.ticket);
            self.deeds.remove(&answer.ticket);
        }
        let now = self.now();
        let Some(effects) = guard::catch(|| update(state, now, msg)) else {
            // Its report is on the way to us, as that of any task.
            return;
        };
        for effect in effects {
            self.carry_out(state, effect);
        }
    }

    fn tell(&self, msg: Msg) {
        // The receiver lives as long as the loop.
        let _ = self.to_ui.send(msg);
    }

    fn carry_out(&mut self, state: &mut State, effect: Effect) {
        match effect {
            Effect::Ask { ticket, question } => self.ask(ticket, *question),
            Effect::Forget(ticket) => {
                if let Some(task) = self.asked.remove(&ticket) {
                    task.abort();
                }
            }
            Effect::Follow { q } => {
                if let Some(task) = self.following.take() {
                    task.abort();
                }
                let _ = self.ring.take();
                let (backend, ring) = (Arc::clone(&self.backend), Arc::clone(&self.ring));
                let work = follow::follow(backend, q, ring, self.to_ui.clone());
                self.following = Some(tokio::spawn(work).abort_handle());
            }
            Effect::Copy { what, text } => {
                let out = self.terminal.backend_mut();
                let done = outside::copy(out, &what, &text);
                self.tell(Msg::Note(done));
            }
            Effect::Write { name, text } => self.tell(Msg::Note(outside::write(&name, &text))),
            Effect::Edit { name, text } => {
                let done = self.away(|| outside::edit(&name, &text));
                let said = done.and_then(|status| {
                    if status.success() {
                        Ok("back from the editor; nothing was changed".to_owned())
                    } else {
                        Err(Failure::error(format!("the editor ended with {status}")))
                    }
                });
                self.tell(Msg::Note(said));
            }
            Effect::Mend { event, task, was, draft } => {
                let is = self.away(|| crate::commands::edit::in_editor(&draft));
                self.tell(Msg::Mended { event, task, was, is });
            }
            Effect::Run(words) => {
                let about = self.about(state);
                let (to_ui, columns) = (self.to_ui.clone(), state.ctx.size.0);
                tokio::spawn(async move {
                    let _ = to_ui.send(outside::run(words, about, columns).await);
                });
            }
            Effect::Switch(name) => self.switch(&name),
            Effect::Suspend => {
                let _ = self.away(|| {
                    let own = rustix::process::getpid();
                    Ok(rustix::process::kill_process(own, rustix::process::Signal::TSTP))
                });
            }
            Effect::Repaint => self.repaint(),
            Effect::Quit { exit, report } => self.quit(exit, report),
        }
    }

    /// The flags that lead another run of this program to the same RelayFlow.
    fn about(&self, state: &State) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some(config) = &self.app.global.user_config {
            flags.extend(["--user-config".to_owned(), config.to_string_lossy().into_owned()]);
        }
        let name = &self.target.name;
        match &self.target.way {
            Way::Store { url } => flags.extend(["--db".to_owned(), url.clone()]),
            Way::Api { .. } if state.ctx.contexts.iter().any(|c| c.name == *name) => {
                flags.extend(["--context".to_owned(), name.clone()]);
            }
            // It was found through the environment, or in reach: so it is again.
            Way::Api { .. } => {}
        }
        flags
    }

    fn quit(&mut self, exit: u8, report: Option<String>) {
        guard::leave();
        self.done = Some(match (exit, report) {
            (0, _) => Ok(Exit::Ok),
            (_, Some(report)) => Err(Failure::error("the TUI has a bug and ended").why(report)),
            (exit, None) => Err(Failure::signalled(exit)),
        });
    }

    fn ask(&mut self, ticket: Ticket, question: Question) {
        let (backend, to_ui) = (Arc::clone(&self.backend), self.to_ui.clone());
        let limit = Arc::clone(&self.limit);
        let is_deed = question.is_deed();
        let is_first = is_deed || matches!(question, Question::Stats | Question::Who);
        let task = tokio::spawn(async move {
            let _permit = if is_first { None } else { limit.acquire_owned().await.ok() };
            let begun = Instant::now();
            let result = asks::ask(&backend, question).await;
            let answer = Answer { ticket, took: begun.elapsed(), result };
            let _ = to_ui.send(Msg::Answer(answer));
        });
        // A deed is carried out whatever becomes of its screen.
        if is_deed {
            self.deeds.insert(ticket);
        } else {
            self.asked.insert(ticket, task.abort_handle());
        }
    }

    /// Gives the terminal to somebody else for a while.
    fn away<T>(&mut self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        // Two readers of one keyboard lose keys: ours goes first.
        self.events = None;
        guard::leave();
        let done = work();
        let entered = guard::enter(self.has_mouse);
        self.events = Some(EventStream::new());
        if let Ok((columns, rows)) = crossterm::terminal::size() {
            self.tell(Msg::Size(columns, rows));
        }
        self.repaint();
        entered.map_err(|e| no_terminal(&e))?;
        done
    }

    /// Connects to another context. Its token command may want the terminal.
    fn switch(&mut self, name: &str) {
        let global = self.app.global.for_context(name);
        let env = |name: &str| self.app.env(name);
        let dir = self.app.dir.clone();
        let mut resolved = Err(Failure::error("the context was not looked at"));
        let _ = self.away_for(|| resolved = crate::context::resolve(&global, &env, &dir));
        let target = match resolved {
            Ok(target) => target,
            Err(failure) => return self.tell(Msg::Switched(Err(failure))),
        };
        let out = super::quiet(self.app);
        let timeout = Duration::try_from(self.app.global.request_timeout).unwrap_or_default();
        // Of an API this waits for nothing; a store that is opened is a file.
        let connected = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(Backend::connect(&target, timeout, &out))
        });
        match connected {
            Ok(backend) => {
                for (_, task) in self.asked.drain() {
                    task.abort();
                }
                self.backend = Arc::new(backend);
                self.target = target.clone();
                self.tell(Msg::Switched(Ok(Box::new(target))));
            }
            Err(failure) => self.tell(Msg::Switched(Err(failure))),
        }
    }

    fn away_for(&mut self, work: impl FnOnce()) -> Result<(), Failure> {
        self.away(|| {
            work();
            Ok(())
        })
    }

    /// The next frame is drawn whole: the screen may differ from what we believe of it.
    fn repaint(&mut self) {
        self.shown = None;
        // `Terminal::clear` asks the terminal where its cursor is, and our reader eats the answer.
        if let Ok((columns, rows)) = crossterm::terminal::size() {
            let _ = self.terminal.resize(Rect::new(0, 0, columns, rows));
        }
    }

    /// Draws what changed; writes nothing if nothing did.
    fn draw(&mut self, state: &State) {
        let (columns, rows) = state.ctx.size;
        let area = Rect::new(0, 0, columns, rows);
        let mut frame = Buffer::empty(area);
        if guard::catch(|| frame::view(state, area, &mut frame)).is_none() {
            return;
        }
        if self.shown.as_ref() == Some(&frame) {
            return;
        }
        match self.write(&frame) {
            Ok(()) => {
                self.failures = 0;
                self.shown = Some(frame);
            }
            Err(_) => {
                self.failures += 1;
                self.repaint();
                if FAILURES_MAX < self.failures {
                    self.done = Some(Err(Failure::signalled(129)));
                }
            }
        }
    }

    fn write(&mut self, frame: &Buffer) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        let drawn = self.terminal.draw(|terminal| {
            let buffer = terminal.buffer_mut();
            if buffer.area == frame.area {
                buffer.clone_from(frame);
            }
        });
        let drawn = drawn.map(|_| ());
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        io::Write::flush(self.terminal.backend_mut())?;
        drawn
    }

    fn inject(&self, what: Option<&str>) {
        match what {
            Some("task-panic") => {
                tokio::spawn(async { panic!("injected into a task") });
            }
            Some("ui-panic") => {
                guard::catch(|| panic!("injected into the UI"));
            }
            Some(_) | None => {}
        }
    }
}
