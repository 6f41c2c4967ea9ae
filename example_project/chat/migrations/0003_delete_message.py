from django.db import migrations


class Migration(migrations.Migration):
    """Messages are in the histories of their rooms."""

    dependencies = [
        ("chat", "0002_office"),
    ]

    operations = [
        migrations.DeleteModel(name="Message"),
    ]
