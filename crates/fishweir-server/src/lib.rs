//! HTTP, dashboard, live loop, alerts and SQL of a project.
