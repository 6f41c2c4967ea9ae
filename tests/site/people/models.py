import uuid

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models


class Person(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    USERNAME_FIELD = "id"

    def __str__(self) -> str:
        return str(self.id)
