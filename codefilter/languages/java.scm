(class_declaration name: (_) @name) @definition.class
(record_declaration name: (_) @name) @definition.class
(interface_declaration name: (_) @name) @definition.interface
(annotation_type_declaration name: (_) @name) @definition.interface
(enum_declaration name: (_) @name) @definition.enum
(method_declaration name: (_) @name) @definition.function
(constructor_declaration name: (_) @name) @definition.function
(compact_constructor_declaration name: (_) @name) @definition.function
(field_declaration declarator: (variable_declarator name: (identifier) @name)) @definition.field
(constant_declaration declarator: (variable_declarator name: (identifier) @name)) @definition.field
(enum_constant name: (_) @name) @definition.field

(line_comment) @leading
(block_comment) @leading

(import_declaration
  (scoped_identifier scope: (_) @import.module name: (_) @import.symbol) . ";")
(import_declaration (identifier) @import.symbol . ";")
((import_declaration (_) @import.module (asterisk)) (#set! bind "all"))

[(identifier) (type_identifier)] @identifier
