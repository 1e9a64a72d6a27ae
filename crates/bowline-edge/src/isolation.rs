//! A private network and hosts file for one command, without root.
//!
//! ```text
//! process (single-threaded) ── enter(): user namespace, where the system asks for one
//!    └─ thread "inside" ────── network + mount namespace: loopback up, hosts file bound
//!           binds listeners, starts the command           ◀── everything else of the process stays outside
//! ```
//! A socket belongs to the namespace of the thread that made it and can be used from any; so the servers answer inside while
//! what they themselves reach (an upstream model server, say) is reached from outside.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use nix::unistd::{getegid, geteuid};
use std::os::fd::AsRawFd;

/// `CAP_NET_ADMIN` and `CAP_SYS_ADMIN` in the masks of /proc/self/status (capability.h).
const ADMIN: u64 = 1 << 12 | 1 << 21;

/// Namespaces could not be had.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// The system refuses a namespace.
    #[error("this system does not allow a private {what} ({errno})")]
    Refused {
        /// Which: "user namespace", "network and file system view".
        what: &'static str,
        /// The system's answer.
        errno: Errno,
    },
    /// A step inside it failed.
    #[error("{what}")]
    Step {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The right to make private namespaces. To be had before the process starts any other thread.
#[derive(Debug)]
pub struct Isolation(());

impl Isolation {
    /// Enters a user namespace unless the process is privileged already. User and group ids stay what they are.
    ///
    /// # Errors
    /// The system has no user namespaces for this process, or it has other threads already.
    pub fn enter() -> Result<Self, IsolationError> {
        if is_admin() {
            return Ok(Self(()));
        }
        let (user, group) = (geteuid(), getegid());
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| IsolationError::Refused {
            what: "user namespace",
            errno,
        })?;
        let write = |file: &str, text: String| {
            fs::write(Path::new("/proc/self").join(file), text)
                .map_err(step("keep the user's ids in the user namespace"))
        };
        // Without it an unprivileged process may not map its group (user_namespaces(7)).
        write("setgroups", "deny".into())?;
        write("uid_map", format!("{user} {user} 1"))?;
        write("gid_map", format!("{group} {group} 1"))?;
        Ok(Self(()))
    }

    /// Gives the calling thread a network of its own with nothing but loopback, and its own view of the file system in which
    /// `hosts` is /etc/hosts. What the thread starts from then on (sockets, processes) is inside.
    ///
    /// # Errors
    /// The system refuses.
    pub fn isolate_thread(&self, hosts: &Path) -> Result<(), IsolationError> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).map_err(|errno| {
            IsolationError::Refused {
                what: "network and file system view",
                errno,
            }
        })?;
        let nothing = None::<&str>;
        // Mounts made from here on must not show outside.
        mount(
            nothing,
            "/",
            nothing,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            nothing,
        )
        .map_err(|errno| step("separate the mounts")(errno.into()))?;
        mount(Some(hosts), "/etc/hosts", nothing, MsFlags::MS_BIND, nothing)
            .map_err(|errno| step("put the hosts file in place")(errno.into()))?;
        loopback_up().map_err(step("bring the loopback interface up"))
    }
}

fn step(what: &'static str) -> impl FnOnce(io::Error) -> IsolationError {
    move |source| IsolationError::Step { what, source }
}

/// Whether the process may do without a user namespace.
fn is_admin() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & ADMIN == ADMIN)
}

/// Sets IFF_UP on interface 1, which loopback is in every network namespace: one message of rtnetlink(7).
fn loopback_up() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const NLMSG_ERROR: u16 = 2;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    // nlmsghdr: length, type, flags, sequence, port.
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    // ifinfomsg: family, padding, device type; index; flags; which flags change.
    message.extend([0; 4]);
    message.extend(1i32.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let fd = socket.as_raw_fd();
    sendto(fd, &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 512];
    let length = recv(fd, &mut answer, MsgFlags::empty())?;
    let field = |at: usize| -> [u8; 4] { answer[at..at + 4].try_into().unwrap_or_default() };
    if length < 20 || u16::from_ne_bytes([answer[4], answer[5]]) != NLMSG_ERROR {
        return Err(io::Error::other("the kernel's answer is not an acknowledgement"));
    }
    // The answer is an error message whose error is 0 when all is well.
    match i32::from_ne_bytes(field(16)) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}
