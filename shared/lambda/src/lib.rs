//! What surrounds a handler in Lambda: boot, settings, events, request context, problem details, headers, telemetry.
//!
//! The modules stand in the order of their levels (`tests/levels.py`).

// Level 1: what a request is, and what is wrong with it.
mod cookies;
pub mod fields;
mod inbound;
mod problem;

// Level 2: its parts, read and written.
mod bearer;
mod body;
mod context;
mod outbound;
mod reply;
pub mod telemetry;

// Level 3: what browsers are told.
mod cors;
mod delivery;

// Level 4: settings.
mod config;

// Level 5: what a function stands on.
mod platform;

// Level 6: a function, by what calls it.
mod app;
mod trigger;

// Level 7: from the process's start to its first event.
mod boot;

pub use app::{App, Call, Presented, RouteError};
pub use bearer::bearer_token;
pub use boot::{BootError, serve, serve_trigger};
pub use config::{Config, ConfigError};
pub use context::RequestContext;
pub use cookies::{DEVICE_COOKIE, REFRESH_COOKIE};
pub use delivery::DeliveryField;
pub use inbound::{Inbound, Invocation, NoRequest};
pub use platform::{Platform, PlatformBuilder, Published};
pub use problem::{Code, FieldError, Problem};
pub use reply::Reply;
pub use trigger::{Event, Trigger, TriggerError};
