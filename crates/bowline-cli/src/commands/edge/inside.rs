//! The thread that is inside the private network: it makes the sockets that belong there and starts the command.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use bowline_edge::{Isolation, IsolationError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};

/// The port that tools call, whatever they are told.
const HTTPS: u16 = 443;
/// Connections into the network that wait to be made.
const DIALS: usize = 64;
/// How long one may take; loopback answers at once or not at all.
const DIAL: Duration = Duration::from_secs(5);

/// How long what the command leaves behind has to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);

/// A private network.
#[derive(Debug)]
pub(super) struct Inside {
    network: Network,
    /// Port 443.
    pub(super) edge: TcpListener,
    /// A free port.
    pub(super) api: TcpListener,
    start: oneshot::Sender<Start>,
    dials: mpsc::Sender<Dial>,
}

/// Which network it is, as /proc tells it of every process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Network(PathBuf);

impl Network {
    /// That of the calling thread.
    fn here() -> io::Result<Self> {
        fs::read_link("/proc/thread-self/ns/net").map(Self)
    }

    /// The processes that are inside. This one is not: its first thread stays outside.
    fn processes(&self) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|network| network == self.0))
            .map(Pid::from_raw)
            .collect()
    }
}

/// A connection to be made inside.
type Dial = (u16, oneshot::Sender<io::Result<TcpStream>>);

/// A command to be started, and where to tell its id and, later, its end.
type Start = (
    Command,
    oneshot::Sender<io::Result<(Pid, oneshot::Receiver<io::Result<ExitStatus>>)>>,
);

/// A command that runs inside.
#[derive(Debug)]
pub(super) struct Running {
    pid: Pid,
    network: Network,
    /// How it ended.
    pub(super) ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

/// Why there is no private network.
#[derive(Debug, thiserror::Error)]
pub(super) enum InsideError {
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("tell the private network from others")]
    Network(#[source] io::Error),
    #[error("listen inside the private network")]
    Listen(#[source] io::Error),
    #[error("start the thread of the private network")]
    Thread(#[source] io::Error),
    #[error("the thread of the private network ended")]
    Ended,
}

impl Inside {
    /// Makes one, with `hosts` as its /etc/hosts.
    pub(super) async fn open(isolation: Isolation, hosts: PathBuf) -> Result<Self, InsideError> {
        let (opened, open) = oneshot::channel();
        let (start, starting) = oneshot::channel();
        let (dials, dialing) = mpsc::channel(DIALS);
        std::thread::Builder::new()
            .name("inside".into())
            .spawn(move || {
                let made = isolation
                    .isolate_thread(&hosts)
                    .map_err(InsideError::from)
                    .and_then(|()| {
                        let bind = |port| {
                            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(InsideError::Listen)
                        };
                        let opened = (
                            Network::here().map_err(InsideError::Network)?,
                            bind(HTTPS)?,
                            bind(0)?,
                        );
                        // It inherits the network of the thread that starts it.
                        std::thread::Builder::new()
                            .name("inside-dial".into())
                            .spawn(move || dial_all(dialing))
                            .map_err(InsideError::Thread)?;
                        Ok(opened)
                    });
                let is_open = made.is_ok();
                let _ = opened.send(made);
                if is_open {
                    run_one(starting);
                }
            })
            .map_err(InsideError::Thread)?;
        let (network, edge, api) = open.await.map_err(|_| InsideError::Ended)??;
        Ok(Self {
            network,
            edge,
            api,
            start,
            dials,
        })
    }

    /// A way to make connections inside.
    pub(super) fn dialer(&self) -> Dialer {
        Dialer(self.dials.clone())
    }

    /// Starts the one command.
    pub(super) async fn start(self, command: Command) -> Result<Running, io::Error> {
        let gone = || io::Error::other(InsideError::Ended);
        let (started, running) = oneshot::channel();
        self.start.send((command, started)).map_err(|_| gone())?;
        let (pid, ended) = running.await.map_err(|_| gone())??;
        let network = self.network;
        Ok(Running { pid, network, ended })
    }
}

/// Makes connections inside.
#[derive(Debug, Clone)]
pub(super) struct Dialer(mpsc::Sender<Dial>);

impl Dialer {
    pub(super) async fn connect(&self, port: u16) -> io::Result<tokio::net::TcpStream> {
        let gone = || io::Error::other(InsideError::Ended);
        let (made, make) = oneshot::channel();
        self.0.send((port, made)).await.map_err(|_| gone())?;
        let stream = make.await.map_err(|_| gone())??;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        tokio::net::TcpStream::from_std(stream)
    }
}

impl Running {
    /// Passes a signal on. A command that has ended is not told.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    /// Ends what the command left behind. It would outlive the stand-in, and keep this program's output open: a pipe or a CI
    /// job would wait for it for ever.
    pub(super) async fn end_the_rest(&self) {
        let mut last = Instant::now() + LAST_WORDS;
        let mut told = Signal::SIGTERM;
        for pid in self.network.processes() {
            let _ = kill(pid, told);
        }
        loop {
            let left = self.network.processes();
            if left.is_empty() {
                return;
            }
            if Instant::now() > last {
                if told == Signal::SIGKILL {
                    // What not even that ends hangs in the kernel.
                    return;
                }
                (told, last) = (Signal::SIGKILL, Instant::now() + LAST_WORDS);
            }
            if told == Signal::SIGKILL {
                for pid in left {
                    let _ = kill(pid, told);
                }
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

fn dial_all(mut dials: mpsc::Receiver<Dial>) {
    while let Some((port, made)) = dials.blocking_recv() {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        // Tools listen on `localhost`, which may be either.
        let stream = TcpStream::connect_timeout(&v4, DIAL)
            .or_else(|error| TcpStream::connect_timeout(&v6, DIAL).map_err(|_| error));
        let _ = made.send(stream);
    }
}

fn run_one(starting: oneshot::Receiver<Start>) {
    let Ok((mut command, started)) = starting.blocking_recv() else {
        return;
    };
    match command.spawn() {
        Err(error) => {
            let _ = started.send(Err(error));
        }
        Ok(mut child) => {
            let (end, ended) = oneshot::channel();
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
            let _ = started.send(Ok((pid, ended)));
            let _ = end.send(child.wait());
        }
    }
}
