// Package backendtest is the suite that every backend passes, called directly and through a
// plugin's process.
package backendtest
