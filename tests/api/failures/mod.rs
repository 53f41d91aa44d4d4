//! Failures of other products, one test each, named by section, number and advisory.

mod a_races;
mod b_codes;
mod c_enumeration;
mod d_proxies;
mod f_tokens;
