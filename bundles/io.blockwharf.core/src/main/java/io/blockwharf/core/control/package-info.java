/** The control lock, the dispatcher of commands and events, and the commands of the monitor. */
package io.blockwharf.core.control;
