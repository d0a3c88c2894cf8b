; What TypeScript adds.
(abstract_class_declaration name: (_) @name) @definition.class
(interface_declaration name: (_) @name) @definition.interface
(enum_declaration name: (_) @name) @definition.enum
(type_alias_declaration name: (_) @name) @definition.type
(function_signature name: (_) @name) @definition.function
(method_signature name: (property_identifier) @name) @definition.function
(abstract_method_signature name: (property_identifier) @name) @definition.function
(property_signature name: (property_identifier) @name) @definition.field
(public_field_definition name: (_) @name) @definition.field
(enum_body name: (property_identifier) @name @definition.field)
(enum_assignment name: (property_identifier) @name) @definition.field
(internal_module name: [(identifier) (nested_identifier)] @name) @scope.namespace
(ambient_declaration (module name: (identifier) @name)) @scope.namespace

(import_require_clause
  (identifier) @import.alias
  source: (string (string_fragment) @import.module))

(type_identifier) @identifier
