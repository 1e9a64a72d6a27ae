//! VPC networks: TCP and HTTP to an explicit allow-list.
