// Package page opens the web page in a real browser, Debian's chromium, with a real daemon behind it whose LUNs are
// worked with all the while. Every view is looked at, on a desk and on a phone, light and dark, and a LUN is made,
// grown and deleted by keyboard alone. What each dialog is for is looked for where it counts: in the daemon, in its files,
// and in what an initiator reads. What the browser complains of, or the checks of axe-core, fails the tests.
//
// Screenshots of every view are written to the folder ISANTARGET_TEST_ARTIFACTS, or where go test -artifacts has them.
package page
