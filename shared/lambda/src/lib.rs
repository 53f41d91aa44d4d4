//! What surrounds a handler in Lambda: boot, settings, events, request context, problem details, headers, telemetry.

mod app;
mod bearer;
mod body;
mod boot;
mod config;
mod context;
mod cookies;
mod cors;
mod delivery;
pub mod fields;
mod inbound;
mod outbound;
mod platform;
mod problem;
mod reply;
pub mod telemetry;
mod trigger;

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
