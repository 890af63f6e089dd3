//! The shippers of all containers.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logs::Cursor;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::driver::Driver;
use crate::shipper::{Order, Shipper};
use crate::transport::Connection;
use crate::watches::Watches;
use crate::{Error, Info};

/// Ships what [`Shipping::start`] names, from there to the container's end and beyond.
pub struct Shipping {
    watches: Watches,
    ships: Mutex<HashMap<String, Ship>>,
}

struct Ship {
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// A driver that is ready to ship, and connected unless its options put that off.
pub struct Dialled {
    driver: Driver,
    connection: Option<Connection>,
}

impl Dialled {
    /// For a container whose driver ships; `None` for any other. Fails as Docker's drivers fail when a container starts.
    pub async fn dial(driver: &str, info: &Info) -> Result<Option<Self>, Error> {
        let Some(driver) = Driver::new(driver, info)? else { return Ok(None) };
        let connection = driver.dial().await?;
        Ok(Some(Self { driver, connection }))
    }

    /// The same without a connection: a receiver that is not there now may be later.
    pub fn prepare(driver: &str, info: &Info) -> Result<Option<Self>, Error> {
        Ok(Driver::new(driver, info)?.map(|driver| Self { driver, connection: None }))
    }
}

impl Shipping {
    pub fn new(watches: Watches) -> Self {
        Self { watches, ships: Mutex::default() }
    }

    /// Ships a container's log while it runs. One that was still under way for an earlier run of it makes room.
    pub async fn start(&self, id: &str, dialled: Dialled, log: &Path) -> io::Result<()> {
        self.stop(id).await;
        self.launch(id, dialled, log, Order::Follow)
    }

    /// Ships what is left of the log of a container that has ended.
    pub fn finish_later(&self, id: &str, dialled: Dialled, log: &Path) -> io::Result<()> {
        self.launch(id, dialled, log, Order::Drain)
    }

    /// The container has ended, and its log is complete: its shipper ends when all of it has arrived.
    pub fn drain(&self, id: &str) {
        if let Some(ship) = self.ships().get(id) {
            ship.orders.send_replace(Order::Drain);
        }
    }

    /// Waits so long for the rest of a log that is about to be removed.
    pub async fn finish(&self, id: &str, patience: Duration) {
        self.drain(id);
        let ship = self.ships().remove(id);
        let Some(mut ship) = ship else { return };
        if tokio::time::timeout(patience, &mut ship.task).await.is_err() {
            tracing::warn!(container = id, "a log is removed before all of it was shipped");
            ship.end().await;
        }
    }

    /// Ends all of them where they are.
    pub async fn shutdown(&self) {
        let ships: Vec<_> = self.ships().drain().map(|(_, ship)| ship).collect();
        for ship in ships {
            ship.end().await;
        }
    }

    async fn stop(&self, id: &str) {
        let ship = self.ships().remove(id);
        if let Some(ship) = ship {
            ship.end().await;
        }
    }

    fn launch(&self, id: &str, dialled: Dialled, log: &Path, order: Order) -> io::Result<()> {
        let folder = log.parent().unwrap_or(Path::new("/"));
        let (orders, told) = watch::channel(order);
        let shipper = Shipper {
            container_id: id.to_owned(),
            driver: dialled.driver,
            connection: dialled.connection,
            log: log.to_owned(),
            cursor: Cursor::open(log, &epoch()?)?,
            orders: told,
            watched: self.watches.watch(folder)?,
        };
        let mut ships = self.ships();
        // Those that have ended by themselves are of no use.
        ships.retain(|_, ship| !ship.task.is_finished());
        ships.insert(id.to_owned(), Ship { orders, task: tokio::spawn(shipper.run()) });
        Ok(())
    }

    fn ships(&self) -> MutexGuard<'_, HashMap<String, Ship>> {
        self.ships.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ship {
    async fn end(self) {
        self.orders.send_replace(Order::Stop);
        // A panic has been printed.
        let _ = self.task.await;
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        for ship in self.ships().values() {
            ship.orders.send_replace(Order::Stop);
        }
    }
}

/// Tells the numbers of one log from those of any other.
fn epoch() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
