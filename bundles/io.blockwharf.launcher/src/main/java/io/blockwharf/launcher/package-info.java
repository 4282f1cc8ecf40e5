/** Starts the daemon: embeds the framework, owns options, pid file, signals and exit status. */
package io.blockwharf.launcher;
