/** The command line: getopt_long's rules, {@code key=value,...} and JSON arguments. */
package io.blockwharf.qmp.cli;
