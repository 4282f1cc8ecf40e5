/** Jobs: what goes on in the background, QAPI {@code job.json}. */
package io.blockwharf.core.job;
