//! A guest's console on a TCP port of this computer.

use super::scrollback::{Piece, Place, Scrollback};
use super::{IDLE, Typed};
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Opens a port; whoever connects, one or several, gets what is kept and then what comes, and types to the guest.
pub(super) fn open(printed: Arc<Scrollback>, typed: Typed) -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no socket for a guest's console")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming() {
            // One that has gone again does not concern the others.
            let _ = client.and_then(|client| serve(client, &printed, &typed));
        }
    });
    Ok(address)
}

fn serve(mut client: TcpStream, printed: &Arc<Scrollback>, typed: &Typed) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut keys = client.try_clone()?;
    let printed = Arc::clone(printed);
    thread::spawn(move || {
        let mut place = Place::default();
        loop {
            let sent = match printed.take(&mut place, IDLE) {
                Piece::Bytes(bytes) => client.write_all(&bytes),
                Piece::Nothing => Ok(()),
                Piece::Closed => break,
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
    let typed = Arc::clone(typed);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = keys.read(&mut buffer) {
            typed(&buffer[..len]);
        }
    });
    Ok(())
}
