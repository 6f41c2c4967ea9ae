"""The admin, where the orders are edited."""

from django.contrib import admin

from .models import Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("item", "customer", "status")
    list_editable = ("status",)
