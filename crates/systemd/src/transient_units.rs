//! The calls of org.freedesktop.systemd1.Manager that a container's unit needs.

use crate::SystemdError;
use crate::bus::Bus;
use crate::wire::{Message, Method, Reader, Writer};
use runtime_core::unit::{Property, Unit, Value};
use std::path::{Path, PathBuf};

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// systemd itself, for root alone: where no bus runs.
const SYSTEM_PRIVATE: &str = "/run/systemd/private";
const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// The instance of systemd: of the system, or of the user who asks (systemd(1), "System and User Service Managers").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instance {
    System,
    User,
}

#[derive(Debug)]
pub struct Manager {
    bus: Bus,
    /// Empty where no bus lies between.
    destination: &'static str,
}

impl Manager {
    pub fn connect(instance: Instance) -> Result<Self, SystemdError> {
        let mut manager = match instance {
            Instance::System => match Self::over_bus(Path::new(SYSTEM_BUS)) {
                Err(SystemdError::Connect { .. }) if Path::new(SYSTEM_PRIVATE).exists() => {
                    Self { bus: Bus::connect(Path::new(SYSTEM_PRIVATE))?, destination: "" }
                }
                other => other?,
            },
            Instance::User => Self::over_bus(&user_bus())?,
        };
        manager.call("Subscribe", "", "", Writer::default())?;
        Ok(manager)
    }

    fn over_bus(path: &Path) -> Result<Self, SystemdError> {
        let mut bus = Bus::connect(path)?;
        let method = |member, signature| Method {
            destination: BUS,
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member,
            signature,
        };
        bus.call(&method("Hello", ""), "", Writer::default())?;
        let mut rule = Writer::default();
        rule.text(&format!("type='signal',interface='{MANAGER}',member='JobRemoved',path='{MANAGER_PATH}'"));
        bus.call(&method("AddMatch", "s"), "", rule)?;
        Ok(Self { bus, destination: DESTINATION })
    }

    fn call(
        &mut self,
        member: &'static str,
        signature: &'static str,
        unit: &str,
        body: Writer,
    ) -> Result<Message, SystemdError> {
        let destination = self.destination;
        let method = Method { destination, path: MANAGER_PATH, interface: MANAGER, member, signature };
        self.bus.call(&method, unit, body)
    }

    /// The control group below which the manager has its slices: `/` of the system's.
    pub fn control_group(&mut self) -> Result<String, SystemdError> {
        let mut body = Writer::default();
        body.text(MANAGER);
        body.text("ControlGroup");
        let method = Method {
            destination: self.destination,
            path: MANAGER_PATH,
            interface: PROPERTIES,
            member: "Get",
            signature: "ss",
        };
        let answer = self.bus.call(&method, "", body)?;
        let mut reader = Reader::new(&answer.body);
        match reader.signature()? {
            "s" => Ok(reader.text()?.to_string()),
            _ => Err(SystemdError::Malformed("ControlGroup is no text")),
        }
    }

    /// Makes the unit with this process in it, and waits until it is there. One of that name that has failed before is
    /// forgotten.
    pub fn start(&mut self, unit: &Unit, mut properties: Vec<Property>, pid: i32) -> Result<(), SystemdError> {
        if !unit.is_slice() {
            properties.push(("PIDs".into(), Value::Numbers(vec![pid.unsigned_abs()])));
        }
        match self.start_once(unit, &properties) {
            Err(error) if error.is_named(UNIT_EXISTS) => {
                self.reset_failed(unit)?;
                self.start_once(unit, &properties)
            }
            other => other,
        }
    }

    fn start_once(&mut self, unit: &Unit, properties: &[Property]) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(&unit.name);
        body.text("replace");
        body.properties(properties);
        body.no_more_units();
        let answer = self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", &unit.name, body)?;
        self.wait_for_job("start", unit, &answer)
    }

    /// Ends the unit with all in it. One that is not there any more has ended.
    pub fn stop(&mut self, unit: &Unit) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(&unit.name);
        body.text("replace");
        match self.call("StopUnit", "ss", &unit.name, body) {
            Err(error) if error.is_named(NO_SUCH_UNIT) => {}
            answer => self.wait_for_job("stop", unit, &answer?)?,
        }
        self.reset_failed(unit)
    }

    /// A failed unit stays until somebody has seen it.
    fn reset_failed(&mut self, unit: &Unit) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(&unit.name);
        match self.call("ResetFailedUnit", "s", &unit.name, body) {
            Err(error) if error.is_named(NO_SUCH_UNIT) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Changes properties until the unit's end.
    pub fn set_properties(&mut self, unit: &Unit, properties: &[Property]) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(&unit.name);
        body.switch(true);
        body.properties(properties);
        self.call("SetUnitProperties", "sba(sv)", &unit.name, body).map(drop)
    }

    fn wait_for_job(&mut self, method: &'static str, unit: &Unit, answer: &Message) -> Result<(), SystemdError> {
        let job = Reader::new(&answer.body).text()?.to_string();
        let result = self.bus.wait_for(|signal| {
            if signal.member != "JobRemoved" {
                return None;
            }
            let mut reader = Reader::new(&signal.body);
            let (_number, removed) = (reader.u32().ok()?, reader.text().ok()?);
            let (_unit, result) = (reader.text().ok()?, reader.text().ok()?);
            (removed == job).then(|| result.to_string())
        })?;
        match result.as_str() {
            "done" => Ok(()),
            _ => Err(SystemdError::Job { method, unit: unit.name.clone(), result }),
        }
    }
}

/// `unix:path=…` of the session, or where a user's manager puts it.
fn user_bus() -> PathBuf {
    let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    let named = address.split([';', ',']).find_map(|part| part.strip_prefix("unix:path="));
    let runtime = || std::env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| format!("/run/user/{}", sys::process::uid()));
    named.map_or_else(|| PathBuf::from(runtime()).join("bus"), PathBuf::from)
}
