/**
 * Starts the daemon: embeds the framework, owns options, pid file, signals and exit status. The
 * shell script {@code bin/blockwharf} finds the Java runtime and becomes this program.
 */
package io.blockwharf.launcher;
