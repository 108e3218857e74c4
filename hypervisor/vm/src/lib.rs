//! A VM as a value; step turns an exit into an answer.
#![no_std]
