/** VDUSE export driver. */
package io.blockwharf.vduse;
