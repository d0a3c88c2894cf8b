(function_declaration name: (_) @name) @definition.function
(method_declaration
  receiver: (parameter_list
    (parameter_declaration
      type: [
        (type_identifier) @owner
        (pointer_type (type_identifier) @owner)
        (generic_type type: (type_identifier) @owner)
        (pointer_type (generic_type type: (type_identifier) @owner))
      ]))
  name: (_) @name) @definition.function
(type_spec name: (_) @name type: (struct_type)) @definition.struct
(type_spec name: (_) @name type: (interface_type)) @definition.interface
(type_spec name: (_) @name) @definition.type
(type_alias name: (_) @name) @definition.type
(method_elem name: (_) @name) @definition.function
(field_declaration name: (_) @name) @definition.field
(source_file (const_declaration (const_spec name: (identifier) @name) @definition.variable))
(source_file (var_declaration (var_spec name: (identifier) @name) @definition.variable))
(source_file
  (var_declaration (var_spec_list (var_spec name: (identifier) @name) @definition.variable)))

(comment) @leading

((import_spec !name path: (_ (_) @import.module)) (#set! bind "last"))
(import_spec name: (package_identifier) @import.alias path: (_ (_) @import.module))
((import_spec name: (dot) path: (_ (_) @import.module)) (#set! bind "all"))

[(identifier) (field_identifier) (type_identifier) (package_identifier)] @identifier
