// Package page is the web page of the admin plane: what runs, seen and changed in a browser.
//
// It is files and no more: HTML, one style sheet and ES modules that ask the API as any client does. They are
// part of the binary, need no network but the daemon's, and are served as they are written: nothing is built.
// So whoever may see the page sees nothing that the API would not tell them; all that is checked is checked there.
package page
