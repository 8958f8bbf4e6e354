"""patch: the hinge. The edit and THE equation, the patch file, and a patch applied as hooks.

edit                  one edit: which units of a layer, replaced by what, where and when
equation              the one equation of all edits
evidence              its records: chosen and measured by what, on which seeds
patch_file            the patch: its model, its edits in order; YAML in and out
combining             patches compared and merged
new_files             patch files that commands make: none is replaced unasked
applying              a patch as forward hooks that leave no trace
patch.schema.json     the JSON Schema that editors use; generated
"""
