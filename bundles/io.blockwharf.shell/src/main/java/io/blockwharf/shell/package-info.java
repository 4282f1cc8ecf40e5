/** Gogo commands. */
package io.blockwharf.shell;
