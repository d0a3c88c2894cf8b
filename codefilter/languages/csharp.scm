(class_declaration name: (_) @name) @definition.class
(record_declaration name: (_) @name) @definition.class
(struct_declaration name: (_) @name) @definition.struct
(interface_declaration name: (_) @name) @definition.interface
(enum_declaration name: (_) @name) @definition.enum
(delegate_declaration name: (_) @name) @definition.type
(method_declaration name: (_) @name) @definition.function
(constructor_declaration name: (_) @name) @definition.function
(local_function_statement name: (_) @name) @definition.function
(property_declaration name: (_) @name) @definition.field
(event_declaration name: (_) @name) @definition.field
(event_field_declaration
  (variable_declaration (variable_declarator name: (identifier) @name))) @definition.field
(field_declaration
  (variable_declaration (variable_declarator name: (identifier) @name))) @definition.field
(enum_member_declaration name: (_) @name) @definition.field
(namespace_declaration name: (_) @name) @scope.namespace

(comment) @leading

((using_directive !name [(identifier) (qualified_name)] @import.module) (#set! bind "all"))
(using_directive name: (_) @import.alias [(identifier) (qualified_name)] @import.module)

(identifier) @identifier
