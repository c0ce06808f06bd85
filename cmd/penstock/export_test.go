package main

// Main lets the tests be penstock themselves.
var Main = main
