/*
 * What wdat.rs builds for a watchdog of ten seconds at most, for a reader and for the test beside it, which compares with wdat.aml:
 *     iasl -p wdat wdat.asl
 */
[0004]                          Signature : "WDAT"    [Watchdog Action Table]
[0004]                       Table Length : 00000000
[0001]                           Revision : 01
[0001]                           Checksum : 00
[0006]                             Oem ID : "BULKHD"
[0008]                       Oem Table ID : "BULKHEAD"
[0004]                       Oem Revision : 00000001
[0004]                    Asl Compiler ID : "INTL"
[0004]              Asl Compiler Revision : 00000000

[0004]                      Header Length : 00000020
[0002]                        PCI Segment : 00FF
[0001]                            PCI Bus : FF
[0001]                         PCI Device : FF
[0001]                       PCI Function : FF
[0003]                           Reserved : 000000
[0004]                       Timer Period : 00000001
[0004]                          Max Count : 00002710
[0004]                          Min Count : 00000001
[0001]              Flags (decoded below) : 01
                                  Enabled : 1
                      Stopped When Asleep : 0
[0003]                           Reserved : 000000
[0004]               Watchdog Entry Count : 0000000A

[0001]                    Watchdog Action : 01
[0001]                        Instruction : 02
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 000000000000061C
[0004]                              Value : 00000000
[0004]                      Register Mask : FFFFFFFF

[0001]                    Watchdog Action : 04
[0001]                        Instruction : 01
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 000000000000061C
[0004]                              Value : 00000000
[0004]                      Register Mask : FFFFFFFF

[0001]                    Watchdog Action : 05
[0001]                        Instruction : 01
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 0000000000000618
[0004]                              Value : 00000000
[0004]                      Register Mask : FFFFFFFF

[0001]                    Watchdog Action : 06
[0001]                        Instruction : 03
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 0000000000000618
[0004]                              Value : 00000000
[0004]                      Register Mask : FFFFFFFF

[0001]                    Watchdog Action : 08
[0001]                        Instruction : 00
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 0000000000000610
[0004]                              Value : 00000001
[0004]                      Register Mask : 00000001

[0001]                    Watchdog Action : 09
[0001]                        Instruction : 02
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 0000000000000610
[0004]                              Value : 00000001
[0004]                      Register Mask : 00000001

[0001]                    Watchdog Action : 0A
[0001]                        Instruction : 00
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 0000000000000610
[0004]                              Value : 00000000
[0004]                      Register Mask : 00000001

[0001]                    Watchdog Action : 0B
[0001]                        Instruction : 02
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 0000000000000610
[0004]                              Value : 00000000
[0004]                      Register Mask : 00000001

[0001]                    Watchdog Action : 20
[0001]                        Instruction : 00
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 0000000000000614
[0004]                              Value : 00000001
[0004]                      Register Mask : 00000001

[0001]                    Watchdog Action : 21
[0001]                        Instruction : 02
[0002]                           Reserved : 0000
[0012]                    Register Region : [Generic Address Structure]
[0001]                           Space ID : 01 [SystemIO]
[0001]                          Bit Width : 20
[0001]                         Bit Offset : 00
[0001]               Encoded Access Width : 03 [DWord Access:32]
[0008]                            Address : 0000000000000614
[0004]                              Value : 00000001
[0004]                      Register Mask : 00000001
