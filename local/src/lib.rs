mod clock;
mod database;
mod identifier;
mod loopback;
mod proxy;
mod secrets;
mod template;
