; What only the JavaScript grammar calls so.
(field_definition property: (_) @name) @definition.field
