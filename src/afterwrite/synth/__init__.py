"""From an app's declaration to a template that deploys it on AWS, and to the package that the template names.

`template.synth` is pure: an app and options in, a document out. `cloudformation` and `terraform` write the document
down; `package` alone reads and writes files.
"""
