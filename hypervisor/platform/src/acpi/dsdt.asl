// What dsdt.rs builds, for a reader and for the test beside it, which compares with dsdt.aml:
//     iasl -p dsdt dsdt.asl
DefinitionBlock ("", "DSDT", 2, "BULKHD", "BULKHEAD", 1)
{
    Name (_S5, Package () { 5, 0, 0, 0 })

    Device (_SB.COM1)
    {
        Name (_HID, EisaId ("PNP0501"))
        Name (_UID, 0)
        Name (_CRS, ResourceTemplate ()
        {
            IO (Decode16, 0x03F8, 0x03F8, 1, 8)
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
        })
    }

    Device (_SB.RTC)
    {
        Name (_HID, EisaId ("PNP0B00"))
        Name (_CRS, ResourceTemplate ()
        {
            IO (Decode16, 0x0070, 0x0070, 1, 2)
        })
    }

    Device (_SB.PCI0)
    {
        Name (_HID, EisaId ("PNP0A08"))
        Name (_CID, EisaId ("PNP0A03"))
        Name (_SEG, 0)
        Name (_BBN, 0)
        Name (_UID, 0)
        Name (_CCA, 1)
        Name (_CBA, 0xE0000000)
        Name (_CRS, ResourceTemplate ()
        {
            WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
            IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
            WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x1000, 0xFFFF, 0, 0xF000)
            DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
        })

        Method (_OSC, 4, Serialized)
        {
            CreateDWordField (Arg3, 0, STAT)
            CreateDWordField (Arg3, 8, CTRL)
            If (Arg0 == ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766"))
            {
                If ((CTRL & 0xFFFFFFEF) != 0)
                {
                    STAT |= 0x10
                }

                CTRL &= 0x10
            }
            Else
            {
                STAT |= 0x04
            }

            Return (Arg3)
        }
    }

    Device (_SB.ECAM)
    {
        Name (_HID, EisaId ("PNP0C02"))
        Name (_UID, 0)
        Name (_CRS, ResourceTemplate ()
        {
            Memory32Fixed (ReadWrite, 0xE0000000, 0x00100000)
        })
    }
}
