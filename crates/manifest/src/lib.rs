//! pipeline.yaml to a validated plan, with spans for errors
