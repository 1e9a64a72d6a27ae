//! Finds, configures and supervises the workerd binary.
