"""Connect django_etp with other packages; each module needs the package that it names."""
