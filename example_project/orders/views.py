"""The page with the live list of orders."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


@login_required
def orders(request: HttpRequest) -> HttpResponse:
    return render(request, "orders/orders.html")
