//! Access service tokens and policy evaluation; the only maker of a Permit.
